"""One door for errors: every kind has an entry, a form and its headers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from entrepot.domain import errors
from entrepot.domain.errors import EntrepotError, OutOfOrder, Unavailable
from entrepot.formats.oci.errors import TABLE
from entrepot.ports.database import Database, Work
from entrepot.wire.errors import find_entry, headers_for, render_challenge
from entrepot.wire.messages import Message, Request
from tests.support.images import image
from tests.support.world import World, basic

T = TypeVar("T")
TREE = [error for error in vars(errors).values() if inspect.isclass(error) and issubclass(error, EntrepotError)]


async def nothing() -> Message:
    """A body that nobody reads."""
    return {"type": "http.disconnect"}


class Broken:
    """The port Database, out of reach from the moment a test says so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_broken = False

    def read(self, work: Work[T]) -> Awaitable[T]:
        return self._call(self._database.read, work)

    def transact(self, work: Work[T], **how: bool) -> Awaitable[T]:
        return self._call(self._database.transact, work)

    async def close(self) -> None:
        await self._database.close()

    async def _call(self, call: Callable[[Work[T]], Awaitable[T]], work: Work[T]) -> T:
        if self.is_broken:
            raise Unavailable("the database cannot be reached") from OSError("no route to 10.1.2.3")
        return await call(work)


@pytest.mark.parametrize("error", TREE)
def test_every_error_has_an_entry(error: type[EntrepotError]) -> None:
    """The nearest ancestor decides; only the root, which nobody raises, is a 500."""
    entry = find_entry(TABLE, error("what was wrong"))
    assert (entry.status == 500) == (error is EntrepotError)
    assert entry.code.isupper()


@pytest.mark.parametrize(
    ("scope", "reason", "expected"),
    [
        ("", "", 'Bearer realm="https://r/token",service="r"'),
        ("repository:a:pull", "", 'Bearer realm="https://r/token",service="r",scope="repository:a:pull"'),
        ("", "invalid_token", 'Bearer realm="https://r/token",service="r",error="invalid_token"'),
    ],
)
def test_challenges(scope: str, reason: str, expected: str) -> None:
    """Realm, service, scope and reason, in the form that clients parse."""
    assert render_challenge("https://r", scope, reason) == expected


def test_a_hostile_host_does_not_reach_the_challenge(world: World) -> None:
    """Quotes and line breaks in Host are replaced by a harmless name."""
    answer = world.client().request("GET", "/v2/", host='evil",realm="http://evil')
    assert answer["www-authenticate"] == 'Bearer realm="http://localhost/token",service="localhost"'


def test_too_many_is_told_when_to_come_back(world: World) -> None:
    """429 carries Retry-After."""
    request = Request({"method": "GET", "path": "/", "query_string": b"", "headers": []}, nothing)
    headers = headers_for(errors.TooMany("later"), world.addresses, request, "")
    assert headers == [("retry-after", "1")]


def test_out_of_order_without_a_place_starts_at_nothing(world: World) -> None:
    """416 always carries Range and Location."""
    request = Request({"method": "PATCH", "path": "/u", "query_string": b"", "headers": [], "scheme": "http"}, nothing)
    for error in (OutOfOrder("no"), OutOfOrder("no", expected="x")):
        assert headers_for(error, world.addresses, request, "") == [
            ("range", "0-0"),
            ("location", "http://localhost/u"),
        ]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/a/b", 404, "UNSUPPORTED"),
        ("PATCH", "/v2/", 405, "UNSUPPORTED"),
        ("GET", "/v2/A/b/manifests/v1", 400, "NAME_INVALID"),
        ("GET", f"/v2/{'a' * 256}/manifests/v1", 400, "NAME_INVALID"),
    ],
)
def test_errors_before_the_guard(world: World, method: str, path: str, status: int, code: str) -> None:
    """What nobody may do anywhere is said to everybody, in the specification's JSON."""
    answer = world.client().request(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer["docker-distribution-api-version"] == "registry/2.0"
    assert ("allow" in answer) == (status == 405)


def test_routes_and_callers_are_left_for_the_log(world: World) -> None:
    """The scope carries the route's pattern and who asked, which metrics and logs pick up."""
    scope = {"entrepot.route": None, "entrepot.caller": None}
    client = world.client("alice").with_scope(**scope)
    seen: dict[str, object] = {}

    async def face(scope: dict[str, object], *rest: object) -> None:
        await world.face(scope, *rest)  # type: ignore[arg-type]  # the rest are an ASGI receive and send
        seen.update(scope)

    type(client)(face, world.runner, client.headers).request("GET", "/v2/pub/x/tags/list")  # type: ignore[arg-type]
    assert (seen["entrepot.route"], seen["entrepot.caller"]) == ("/v2/{name}/tags/list", "alice")


def test_a_database_out_of_reach_is_503() -> None:
    """Reads, writes and the look behind a refusal: each says UNAVAILABLE, never a 500."""
    broken: list[Broken] = []

    def wrap(database: Database) -> Database:
        broken.append(Broken(database))
        return broken[-1]

    with World(wrap_database=wrap) as world:
        world.push("pub/app", image(), "v1")
        broken[-1].is_broken = True
        alice = world.bearer("", "repository:pub/app:pull")
        for client in (alice, world.client()):
            assert client.request("GET", "/v2/pub/app/manifests/v1").code == "UNAVAILABLE"
            away = client.request("GET", "/v2/pub/app/manifests/-")
            assert (away.status, away["retry-after"]) == (503, "5")
            # What it was told by the database is for the log.
            assert b"10.1.2.3" not in away.body
        assert world.client().request("GET", "/v2/", authorization=basic("bob", "x")).status == 503

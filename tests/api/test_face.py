"""The API as an HTTP service: errors, methods, bodies, paths, and when it is built."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from litestar.exceptions import HTTPException

from entrepot.api.face import ApiFace
from entrepot.api.paths import TAILS, restore, rewrite
from entrepot.api.routes import ENDPOINTS, REPOSITORY
from entrepot.wire.bodies import Limits
from tests.api.door import PRIVATE, PUBLIC, Door, at, tag_at
from tests.support.asgi import Client, Pause
from tests.support.world import World, basic, password_of

ADMIN = basic("admin", password_of("admin"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"name": "erin"}', "password"),
        ('{"name": "erin", "password": "erin-password", "role": "x"}', "role"),
        ('{"name": 1, "password": "erin-password"}', "name"),
        ('{"name": "erin", "password": "erin-password", "administrator": "yes"}', "administrator"),
        ('{"name": "erin", "password": "erin-password", "administrator": 1}', "administrator"),
        ('{"name": null, "password": "erin-password"}', "name"),
        ("[]", ""),
        ("{", ""),
        ("", ""),
        ("null", ""),
        ('{"name": "\\ud800"}', ""),
        ('{"name": "\xff"}', ""),
        ('{"\xff": 1}', ""),
        ("[" * 20_000, ""),
    ],
)
def test_bad_documents_are_told_where(shared: Door, body: str, field: str) -> None:
    """A document that is not JSON, or not of its type, is 400 with the path of the field."""
    client = shared.client("admin").with_headers(content_type="application/json")
    answer = client.request("POST", "/api/v1/users", body.encode("latin-1"))
    assert (answer.status, answer.code) == (400, "REQUEST_INVALID")
    assert answer.json["errors"][0]["detail"]["field"] == field


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_read(shared: Door, kind: str) -> None:
    """What a page of another site could make a browser send is refused."""
    client = shared.client("admin").with_headers(**({"content_type": kind} if kind else {}))
    answer = client.request("POST", "/api/v1/users", b'{"name": "erin", "password": "erin-password"}')
    assert (answer.status, answer.code) == (400, "REQUEST_INVALID")
    assert shared.ask("admin", "GET", "/users/erin").status == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [("n=0", "n"), ("n=-1", "n"), ("n=1001", "n"), ("n=x", "n"), ("n=", "n"), (f"last={'x' * 256}", "last")],
)
def test_bad_parameters_are_told(shared: Door, query: str, field: str) -> None:
    """A parameter outside its limits is 400 and named."""
    answer = shared.ask("admin", "GET", f"/users?{query}")
    assert (answer.status, answer.code) == (400, "REQUEST_INVALID")
    assert answer.json["errors"][0]["detail"]["field"] == field


@pytest.mark.parametrize("target", ["/users/" + "a" * 5000, "/users?n=" + "1" * 5000, "/users?" + "a=1&" * 1200])
def test_long_targets_are_refused(shared: Door, target: str) -> None:
    """Before anything remembers them."""
    for method, length in (("GET", True), ("HEAD", False)):
        answer = shared.ask("admin", method, target)
        assert (answer.status, bool(answer.body)) == (414, length)
    assert (answer["content-type"], answer["x-content-type-options"]) == ("application/json", "nosniff")
    assert shared.ask("admin", "GET", target).code == "SIZE_INVALID"


def test_documents_that_are_nested_too_deeply(shared: Door) -> None:
    """They are 400, however deep."""
    for depth in (400, 10_000):
        body = b'{"policy":' + b'{"a":' * depth + b"1" + b"}" * (depth + 1)
        answer = shared.client("admin").request("POST", "/api/v1/policy/plan", body, content_type="application/json")
        assert (answer.status, answer.code) == (400, "REQUEST_INVALID")


def test_large_bodies_are_refused(shared: Door) -> None:
    """A body over the limit is 413, announced or not."""
    client = shared.client("admin").with_headers(content_type="application/json")
    body = b'{"name": "' + b"x" * 70_000
    assert client.request("POST", "/api/v1/users", body).status == 413
    assert client.request("POST", "/api/v1/users", [body[:40_000], body[40_000:]]).status == 413


def test_slow_bodies_are_refused() -> None:
    """A body that stops arriving is 408."""
    with World(limits=Limits(idle_seconds=0.05)) as world:
        client = Client(ApiFace(world.context), world.runner).with_headers(authorization=ADMIN)
        answer = client.request("POST", "/api/v1/users", [b"{", Pause(5)], content_type="application/json")
        assert (answer.status, answer.code) == (408, "SIZE_INVALID")


def test_bodies_are_not_read_before_the_caller_is_known(shared: Door) -> None:
    """Whoever may not is refused on the headers, before a byte of the body is wanted."""
    client = shared.client("bob").with_headers(content_type="application/json")
    assert client.request("POST", "/api/v1/users", [Pause(30), b"{}"]).status == 403


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/users", "GET, HEAD, POST"),
        ("OPTIONS", "/users", "GET, HEAD, POST"),
        ("OPTIONS", "/jobs/counts", "GET, HEAD"),
        ("PATCH", "/whoami", "GET, HEAD"),
        ("POST", tag_at(PRIVATE), "DELETE, GET, HEAD, PUT"),
        ("GET", f"{tag_at(PRIVATE)}/rollback", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("TRACE", "/users", "GET, HEAD, POST"),
        ("SEARCH", "/users", "GET, HEAD, POST"),
    ],
)
def test_other_methods_are_named(shared: Door, method: str, path: str, allowed: str) -> None:
    """A method that a path does not have is 405 with those that it has."""
    answer = shared.ask("admin", method, path)
    assert (answer.status, answer.code, answer["allow"]) == (405, "UNSUPPORTED", allowed)


@pytest.mark.parametrize(
    "target", ["/api", "/api/", "/api/v1", "/api/v2/users", "/api/v1/none", "/api/v1/users/a/b/c", "/api/v1/docs"]
)
def test_other_paths_are_unknown(shared: Door, target: str) -> None:
    """A path that is no endpoint is 404 in JSON, whoever asks."""
    answer = shared.client().request("GET", target)
    assert (answer.status, answer.code) == (404, "ENDPOINT_UNKNOWN")


def test_head_is_get_without_a_body(shared: Door) -> None:
    """HEAD has the status and headers of GET."""
    get, head = (shared.ask("alice", method, tag_at(PRIVATE)) for method in ("GET", "HEAD"))
    assert (head.status, head.body, head.pairs) == (200, b"", get.pairs)
    assert shared.ask("bob", "HEAD", tag_at(PRIVATE)).status == 404


def test_answers_are_harmless_and_not_kept(shared: Door) -> None:
    """Every answer, an error too, is plain JSON that nobody caches or guesses at."""
    for answer in (shared.ask("admin", "GET", "/users"), shared.ask("", "GET", "/users"), shared.ask("", "GET", "/x")):
        assert answer["content-type"] == "application/json"
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("acme%2Fapp", "acme%2Fapp"),
        ("acme/app", "acme%2Fapp"),
        ("acme/team/app/", "acme%2Fteam%2Fapp"),
        ("acme%2fapp/tags", "acme%2Fapp/tags"),
        ("acme/app/tags/latest", "acme%2Fapp/tags/latest"),
        ("acme/app/tags/latest/history", "acme%2Fapp/tags/latest/history"),
        ("acme/app/members/bob", "acme%2Fapp/members/bob"),
        ("acme%2Ftags", "acme%2Ftags"),
        ("acme%2Ftags%2Flatest", "acme%2Ftags%2Flatest"),
        ("acme/tags/tags", "acme/tags/tags"),
        ("acme%2Fapp/tags/a%2Fb", "acme%2Fapp/tags/a%2Fb"),
        ("tags", "tags"),
    ],
)
def test_names_with_slashes(target: str, expected: str) -> None:
    """A name is one segment when its slashes are escaped; else the path is read from the right."""
    raw = f"/api/v1/repositories/{target}"
    path = rewrite({"raw_path": raw.encode(), "path": raw.replace("%2F", "/").replace("%2f", "/")})
    assert path == f"/api/v1/repositories/{expected}"
    assert restore("acme%2Fapp") == "acme/app"


def test_names_without_a_raw_path() -> None:
    """A server that hands on no raw path still finds the name."""
    path = rewrite({"path": "/api/v1/repositories/acme/app/tags/latest"})
    assert path == "/api/v1/repositories/acme%2Fapp/tags/latest"
    assert rewrite({"path": "/api/v1/repositories/"}) == "/api/v1/repositories/"
    assert rewrite({"path": "/api/v1/users/a"}) == "/api/v1/users/a"


def test_what_may_follow_a_name_is_what_is_routed() -> None:
    """The tails by which paths are read are those of the route table, longer ones first."""
    routed = {
        tuple(None if part.startswith("{") else part for part in endpoint.path.removeprefix(REPOSITORY).split("/")[1:])
        for endpoint in ENDPOINTS
        if endpoint.path.startswith(REPOSITORY)
    }
    assert set(TAILS) == routed
    assert list(TAILS) == sorted(TAILS, key=len, reverse=True)


def test_a_plain_name_works_as_well(shared: Door) -> None:
    """A name with plain slashes leads to the same answer."""
    plain = shared.client("alice").request("GET", f"/api/v1/repositories/{PRIVATE}/tags/latest")
    assert plain.json == shared.send("alice", "GET", tag_at(PRIVATE))


def test_requests_are_told_apart_by_route(shared: Door) -> None:
    """The route's template and the caller are left in the scope for metrics and logs, refusals included."""
    scope: dict[str, Any] = {}
    face = shared.face

    async def keep(inner: Any, receive: Any, send: Any) -> None:
        await face(inner, receive, send)
        scope.clear()
        scope.update(inner)

    client = Client(keep, shared.world.runner).with_headers(authorization=basic("bob", password_of("bob")))
    for path in (at(PUBLIC), at(PRIVATE)):
        client.request("GET", f"/api/v1{path}")
        assert scope["entrepot.route"] == "/api/v1/repositories/{repository}"
        assert scope["entrepot.caller"] == "bob"


def test_a_failure_goes_to_whoever_wraps_the_server(shared: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is not answered here: the server logs it and answers a bare 500."""
    monkeypatch.setattr("entrepot.metadata.tags.list_tag_details", None)
    with pytest.raises(TypeError):
        shared.ask("admin", "GET", f"{at(PRIVATE)}/tags")


@pytest.mark.parametrize(("status", "expected"), [(418, 400), (500, 0)])
def test_refusals_of_the_framework_have_our_form(
    shared: Door, monkeypatch: pytest.MonkeyPatch, status: int, expected: int
) -> None:
    """Whatever the framework refuses is said in our form; its own failures go to whoever wraps the server."""

    async def refuse(*_: object) -> None:
        raise HTTPException("as it is", status_code=status)

    monkeypatch.setattr("entrepot.core.namespaces.get_namespace", refuse)
    if not expected:
        with pytest.raises(HTTPException):
            shared.ask("alice", "GET", "/namespaces/priv")
        return
    answer = shared.ask("alice", "GET", "/namespaces/priv")
    assert (answer.status, answer.code) == (expected, "REQUEST_INVALID")


def test_whoever_listens_on_hears_the_client_go(shared: Door) -> None:
    """Behind the body come the messages of the connection, as from any server."""
    heard: list[str] = []

    async def listen(_: Any, receive: Any, send: Any) -> None:
        heard.extend([(await receive())["type"] for _ in range(2)])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    face = ApiFace(shared.world.context)
    face._application = listen
    Client(face, shared.world.runner).request("GET", "/api/v1/whoami")
    assert heard == ["http.request", "http.disconnect"]


def test_a_database_that_is_away_is_told(door: Door) -> None:
    """While the database cannot be reached, the answer is 503 in JSON."""
    door.ask("admin", "GET", "/whoami")
    door.world.run(door.world.database.close())
    answer = door.ask("admin", "PATCH", "/namespaces/priv", {"visibility": "public"})
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    door.world.open()


def test_nothing_is_built_before_it_is_asked_for() -> None:
    """Importing the server imports no Litestar: pushes and pulls do not pay for it."""
    code = "import sys, entrepot.app; assert not any(name.startswith('litestar') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_is_built_once(door: Door) -> None:
    """Requests that come while it is being built wait for the one application."""

    async def ask() -> list[int]:
        face = ApiFace(door.world.context)
        client = Client(face, door.world.runner)
        answers = await asyncio.gather(*(client.exchange("GET", "/api/v1/whoami") for _ in range(3)))
        return [answer.status for answer in answers]

    assert door.world.run(ask()) == [401, 401, 401]

"""Outsiders learn nothing from the work that an answer takes: counted at the ports, not timed."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from entrepot.api.face import ApiFace
from entrepot.api.routes import ENDPOINTS as API
from entrepot.domain.access import Action
from entrepot.domain.digests import digest_of
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.ports.database import Database, Row, Tx, Work
from tests.support.asgi import Client
from tests.support.images import image
from tests.support.world import PlainHasher, World, basic


class Counting:
    """The port Database that writes down the statements it is asked for, without their arguments."""

    def __init__(self, database: Database, statements: list[str]) -> None:
        self._database = database
        self._statements = statements

    def read(self, work: Work[Any]) -> Awaitable[Any]:
        return self._database.read(lambda tx: work(_CountingTx(tx, self._statements)))

    def transact(self, work: Work[Any], **how: bool) -> Awaitable[Any]:
        return self._database.transact(lambda tx: work(_CountingTx(tx, self._statements)), **how)

    async def close(self) -> None:
        await self._database.close()


class _CountingTx:
    """A Tx that writes down what it is asked."""

    def __init__(self, tx: Tx, statements: list[str]) -> None:
        self._tx = tx
        self._statements = statements

    async def one(self, sql: str, *arguments: object) -> Row | None:
        self._statements.append(sql)
        return await self._tx.one(sql, *arguments)

    async def all(self, sql: str, *arguments: object) -> list[Row]:
        self._statements.append(sql)
        return await self._tx.all(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> int:
        self._statements.append(sql)
        return await self._tx.execute(sql, *arguments)


class Watched:
    """A world whose statements and password hashes are counted."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.world = World(wrap_database=lambda database: Counting(database, self.statements))
        self.world.push("priv/app", image(), "latest")
        self.world.push("pub/app", image(), "latest")
        self.world.push("pub/hidden", image(), "latest")
        self.world.set_visibility("pub/hidden", "private")

    def work_of(self, user: str, method: str, target: str, **headers: str) -> tuple[int, list[str]]:
        """The status of a request and the statements that it took, when it is not the first of its kind."""
        client = self.world.client(user)
        client.request(method, target, **headers)
        self.statements.clear()
        return client.request(method, target, **headers).status, list(self.statements)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A registry that is watched at its ports."""
    found = Watched()
    with found.world:
        yield found


@pytest.mark.parametrize("user", ["", "bob"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "manifests/latest"),
        ("HEAD", "manifests/latest"),
        ("GET", f"blobs/sha256:{'0' * 64}"),
        ("GET", "tags/list"),
        ("GET", f"referrers/sha256:{'0' * 64}"),
        ("POST", "blobs/uploads/"),
        ("DELETE", "manifests/latest"),
    ],
)
def test_there_and_not_there_take_the_same_work(watched: Watched, user: str, method: str, path: str) -> None:
    """A private repository, one that is not there, and a namespace that is not there: status and statements."""
    seen = {str(watched.work_of(user, method, f"/v2/{name}/{path}")) for name in ("priv/app", "priv/none", "none/none")}
    assert len(seen) == 1


@pytest.mark.parametrize("user", ["", "bob"])
@pytest.mark.parametrize(
    ("method", "path"),
    [(each.method, each.path.removeprefix("/v2/{name}/")) for each in GRAMMAR.endpoints if each.needs is Action.PULL],
)
def test_what_an_open_namespace_hides_takes_the_same_work(watched: Watched, user: str, method: str, path: str) -> None:
    """Whoever reads by a namespace's default: one status, and the same statements, for what is hidden and not there."""
    target = path.format(reference="latest", digest=f"sha256:{'0' * 64}")
    hidden, absent = (watched.work_of(user, method, f"/v2/pub/{name}/{target}") for name in ("hidden", "none"))
    assert hidden[0] == absent[0] == (404 if user else 401)
    assert sorted(hidden[1]) == sorted(absent[1])
    assert len(hidden[1]) > 1


@pytest.mark.parametrize("user", ["", "bob"])
@pytest.mark.parametrize("query", ["", "?n=x", "?nonsense=1"])
@pytest.mark.parametrize(
    ("method", "path"),
    [(each.method, each.path) for each in API if each.path.startswith("/repositories/{repository}")],
)
def test_the_api_tells_no_more(watched: Watched, user: str, query: str, method: str, path: str) -> None:
    """By no endpoint about a repository: the same answer but for its name and the refusal's id, the same statements."""
    face, seen = ApiFace(watched.world.context), []
    for name in ("pub/hidden", "pub/other1"):
        client = Client(face, watched.world.runner)
        if user:
            client = client.with_headers(authorization=basic(user, f"{user}-password"))
        target = path.format(repository=name, tag="latest", user="carol", digest=f"sha256:{'0' * 64}")
        for _ in range(2):
            watched.statements.clear()
            answer = client.request(method, f"/api/v1{target}{query}", b"{}", content_type="application/json")
        denial = answer["entrepot-denial"]
        assert denial
        told = [text.replace(denial, "ID").replace(name, "NAME") for text in (answer.body.decode(), str(answer.pairs))]
        seen.append((answer.status, *told, sorted(watched.statements)))
    assert seen[0] == seen[1]
    assert seen[0][0] in {401, 403, 404}


@pytest.mark.parametrize("home", ["pub", "priv"])
def test_a_mount_tells_nothing(watched: Watched, home: str) -> None:
    """A known blob out of a repository that is hidden, or not there: the same statements, and an upload begins."""
    blob = digest_of(image().blobs[0])
    hidden, absent = (
        watched.work_of("bob", "POST", f"/v2/bob/app/blobs/uploads/?mount={blob}&from={home}/{name}")
        for name in ("hidden" if home == "pub" else "app", "none")
    )
    assert hidden == absent
    assert hidden[0] == 202


def test_an_unknown_user_costs_a_hash(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password of somebody and of nobody: the same statements, one hash, and the same words."""
    hashed: list[str] = []
    verify = PlainHasher.verify

    async def counting(hasher: PlainHasher, encoded: str, password: str) -> bool:
        hashed.append("once")
        return await verify(hasher, encoded, password)

    monkeypatch.setattr(PlainHasher, "verify", counting)
    seen = []
    for name in ("alice", "nobody", "x" * 300):
        watched.statements.clear()
        hashed.clear()
        client = watched.world.client().with_headers(authorization=basic(name, "wrong"))
        answer = client.request("GET", "/v2/")
        seen.append((answer.status, answer.body, list(watched.statements), list(hashed)))
    assert seen[0] == seen[1] == seen[2]
    # Two that read what was counted, three that count, and one that finds the account.
    assert (seen[0][0], len(seen[0][2]), seen[0][3]) == (401, 6, ["once"])


def test_a_lock_is_the_same_for_everybody(watched: Watched) -> None:
    """Too many wrong passwords of somebody and of nobody: the same statuses, statements and words, try by try."""
    seen = []
    for name in ("alice", "nobody"):
        client = watched.world.client().with_headers(authorization=basic(name, "wrong"))
        tries = []
        for _ in range(13):
            watched.statements.clear()
            answer = client.request("GET", "/v2/")
            tries.append((answer.status, answer.body, list(watched.statements)))
        seen.append(tries)
    assert seen[0] == seen[1]
    assert [status for status, _, _ in seen[0]] == [401] * 10 + [429] * 3

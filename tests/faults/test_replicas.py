"""Several replicas as one registry: each request may go to another, and every answer is as if there were one."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.machine import check
from tests.faults.pusher import Answer, Content, Door, digest_of, image_of, list_losses
from tests.faults.replicas import NAMES, Site, customers, open_site
from tests.support.server import ADMIN_PASSWORD
from tests.support.world import basic

REPOSITORY = "faults/replicas"
DATA = Content(7, 900_000).data
HOST = "registry.example.com"
PASSWORD = "a-password-of-the-tests"
STALE_SECONDS = 10
ROUNDS = 30


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three replicas for all tests of this file; those that harm them come last and leave them running."""
    with open_site(tmp_path_factory.mktemp("replicas")) as site:
        yield site


@pytest.fixture
def doors(site: Site) -> Iterator[list[Door]]:
    """A door into each replica, past the balancer."""
    opened = [Door(server) for server in site.replicas.values()]
    yield opened
    for door in opened:
        door.__exit__()


@pytest.fixture
def front(site: Site) -> Iterator[Door]:
    """The door that clients use."""
    with Door(site.balancer) as door:
        yield door


def as_user(door: Door, method: str, path: str, authorization: str, body: bytes | None = None) -> Answer:
    """Ask as somebody else than the administrator, by the name that all replicas have for clients."""
    return door.ask(method, path, body, {"Host": HOST, "Authorization": authorization})


def manage(door: Door, method: str, path: str, body: object = None) -> Any:
    """A call of `/api/v1`, which must succeed."""
    raw = None if body is None else json.dumps(body).encode()
    answer = door.ask(method, f"/api/v1{path}", raw, {"Content-Type": "application/json"} if raw else None)
    assert answer.status < 300, answer
    return json.loads(answer.body) if answer.body else None


def push_image(door: Door, repository: str, tag: str, seed: int) -> bytes:
    """Push a small image; its manifest."""
    config, layer = Content(seed, 200).data, Content(seed + 1, 5000).data
    for data in (config, layer):
        assert door.push(repository, data).status == 201
    raw = image_of(config, [layer])
    assert door.put_manifest(repository, tag, raw).status == 201
    return raw


def token_of(door: Door, scope: str) -> str:
    """A token of the administrator."""
    answer = door.ask("GET", f"/token?scope={scope}", headers={"Host": HOST})
    assert answer.status == 200, answer
    return str(json.loads(answer.body)["token"])


def becomes(door: Door, path: str, authorization: str, status: int) -> None:
    """Wait until somebody is answered like this there, which every replica must do within ten seconds."""
    limit = time.monotonic() + STALE_SECONDS
    while (answer := as_user(door, "GET", path, authorization)).status != status:
        assert time.monotonic() < limit, answer
        time.sleep(0.05)


def test_an_upload_hops_between_replicas(front: Door, doors: list[Door]) -> None:
    """Every request of an upload reaches another replica; its status is right in each of them, and so is the blob."""
    answer = front.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    location, seen = answer.headers["location"], [answer.headers["x-replica"]]
    step = 150_000
    for start in range(0, len(DATA), step):
        chunk = DATA[start : start + step]
        span = {"Content-Range": f"{start}-{start + len(chunk) - 1}", "Content-Type": "application/octet-stream"}
        answer = front.ask("PATCH", location, chunk, span)
        assert (answer.status, answer.headers["range"]) == (202, f"0-{start + len(chunk) - 1}")
        seen.append(answer.headers["x-replica"])
        status = front.ask("GET", location)
        assert (status.status, status.headers["range"]) == (204, f"0-{start + len(chunk) - 1}")
    assert set(seen) == set(NAMES)
    assert front.ask("PUT", f"{location}?digest={digest_of(DATA)}").status == 201
    for door in doors:
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(DATA)}").body == DATA


def test_chunks_out_of_order_are_refused_by_every_replica(doors: list[Door]) -> None:
    """A chunk that was sent again, or too early, is 416 with the true offset wherever it comes to."""
    location = doors[0].start(REPOSITORY)
    assert doors[1].append(location, DATA[:1000]).status == 202
    for span in ("0-999", "2000-2999"):
        for door in doors:
            answer = door.ask("PATCH", location, DATA[:1000], {"Content-Range": span})
            assert (answer.status, answer.headers["range"]) == (416, "0-999")


def test_an_upload_is_cancelled_elsewhere(doors: list[Door]) -> None:
    """DELETE at another replica than the one that holds the bytes ends the upload for all of them at once."""
    location = doors[0].start(REPOSITORY)
    assert doors[0].append(location, DATA[:5000]).status == 202
    assert doors[1].ask("DELETE", location).status == 204
    for door in doors:
        assert door.ask("GET", location).status == 404
        assert door.append(location, b"more").status == 404
        assert door.finish(location, digest_of(DATA[:5000])).status == 404


def test_one_upload_at_two_replicas_at_once(doors: list[Door]) -> None:
    """The same chunk sent through all replicas at the same moment counts once, and the blob is whole."""
    for number in range(5):
        location = doors[0].start(REPOSITORY)
        data = Content(50 + number, 30_000).data
        span = {"Content-Range": f"0-{len(data) - 1}", "Content-Type": "application/octet-stream"}

        def send(door: Door, location: str = location, data: bytes = data, span: dict[str, str] = span) -> int:
            return door.ask("PATCH", location, data, span).status

        with ThreadPoolExecutor(len(doors)) as pool:
            statuses = sorted(pool.map(send, doors))
        assert statuses[0] == 202
        assert set(statuses[1:]) <= {409, 416, 503}
        assert doors[1].finish(location, digest_of(data)).status == 201
        assert doors[2].ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(data)}").body == data


def test_a_tag_is_moved_for_all_at_once(doors: list[Door]) -> None:
    """What one replica has acknowledged every other one serves with the next request, by tag and by digest."""
    for number in range(ROUNDS):
        pusher, puller, other = (doors[(number + offset) % len(doors)] for offset in range(3))
        raw = push_image(pusher, REPOSITORY, "latest", 1000 + 10 * number)
        for reference in ("latest", digest_of(raw)):
            assert puller.ask("GET", f"/v2/{REPOSITORY}/manifests/{reference}").body == raw
        head = other.ask("HEAD", f"/v2/{REPOSITORY}/manifests/latest")
        assert head.headers["docker-content-digest"] == digest_of(raw)
    assert doors[0].ask("DELETE", f"/v2/{REPOSITORY}/manifests/latest").status == 202
    assert [door.ask("GET", f"/v2/{REPOSITORY}/manifests/latest").status for door in doors] == [404] * len(doors)


def test_one_of_several_moves_wins(doors: list[Door]) -> None:
    """Of pushes through different replicas under the same condition exactly one is acknowledged."""
    raws = [push_image(doors[0], REPOSITORY, f"race{number}", 5000 + 10 * number) for number in range(len(doors) + 1)]
    for number in range(5):
        tag = f"raced{number}"
        assert doors[0].put_manifest(REPOSITORY, tag, raws[-1]).status == 201
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", "If-Match": f'"{digest_of(raws[-1])}"'}

        def move(
            pair: tuple[Door, bytes],
            path: str = f"/v2/{REPOSITORY}/manifests/{tag}",
            headers: dict[str, str] = headers,
        ) -> int:
            return pair[0].ask("PUT", path, pair[1], headers).status

        with ThreadPoolExecutor(len(doors)) as pool:
            statuses = list(pool.map(move, zip(doors, raws, strict=False)))
        assert sorted(statuses) == [201, 412, 412]
        winner = raws[statuses.index(201)]
        assert [door.ask("GET", f"/v2/{REPOSITORY}/manifests/{tag}").body for door in doors] == [winner] * len(doors)


def test_tokens_of_one_are_good_for_all(doors: list[Door]) -> None:
    """Replicas sign by the same keys and publish them: a token of one opens the others, and revoked, none of them."""
    raw = push_image(doors[0], REPOSITORY, "tokens", 7000)
    path = f"/v2/{REPOSITORY}/manifests/tokens"
    tokens = [token_of(door, f"repository:{REPOSITORY}:pull") for door in doors]
    for door in doors:
        for token in tokens:
            assert as_user(door, "GET", path, f"Bearer {token}").body == raw
    published = {door.ask("GET", "/.well-known/jwks.json").body for door in doors}
    assert len(published) == 1
    manage(doors[1], "POST", "/signing-keys", {"revoke": True})
    fresh = token_of(doors[1], f"repository:{REPOSITORY}:pull")
    for door in doors:
        assert as_user(door, "GET", path, f"Bearer {fresh}").body == raw
        becomes(door, path, f"Bearer {tokens[0]}", 401)


def test_grants_hold_everywhere(doors: list[Door]) -> None:
    """What one replica was told about accounts and grants holds at the others: at once where it allows, and within
    ten seconds where it takes away.
    """
    push_image(doors[0], REPOSITORY, "grants", 8000)
    path, bob = f"/v2/{REPOSITORY}/manifests/grants", basic("bob", PASSWORD)
    manage(doors[0], "POST", "/users", {"name": "bob", "password": PASSWORD})
    assert [as_user(door, "GET", path, bob).status for door in doors] == [404] * len(doors)
    grant = {"subject": "user:bob", "role": "reader", "resource": REPOSITORY}
    made = manage(doors[1], "POST", "/grants", grant)
    assert [as_user(door, "GET", path, bob).status for door in doors] == [200] * len(doors)
    manage(doors[2], "DELETE", f"/grants/{made['id']}")
    for door in doors:
        becomes(door, path, bob, 404)
    manage(doors[0], "POST", "/grants", grant)
    manage(doors[0], "PUT", "/users/bob/password", {"password": f"{PASSWORD}-2"})
    for door in doors:
        becomes(door, path, bob, 401)
        assert as_user(door, "GET", path, basic("bob", f"{PASSWORD}-2")).status == 200


def test_jobs_are_done_once(site: Site, doors: list[Door]) -> None:
    """The job processes of all replicas share the queue: each job is taken by one of them, and only once."""
    site.query(
        "create table taken (job bigint, worker text);"
        "create function note() returns trigger language plpgsql as "
        "'begin insert into taken values (new.id, new.worker); return new; end';"
        "create trigger note after update on job for each row "
        "when (new.state = 'running' and old.state <> 'running') execute function note()"
    )
    for number in range(90):
        door = doors[number % len(doors)]
        location = door.start(REPOSITORY)
        assert door.append(location, b"bytes that nobody wants").status == 202
        assert door.ask("DELETE", location).status == 204
    # Bytes are kept for a minute for whoever still reads them; here nobody does.
    site.query(
        "update job set run_at = (extract(epoch from clock_timestamp()) * 1000000)::bigint "
        "where kind = 'store.discard' and state = 'pending'"
    )
    limit = time.monotonic() + STALE_SECONDS
    while site.query("select 1 from job where kind = 'store.discard' limit 1"):
        assert time.monotonic() < limit, site.query("select kind, state, attempts, error from job")
        time.sleep(0.1)
    assert int(site.query("select count(*) from taken")[0]) >= 90
    assert site.query("select job from taken group by job having count(*) > 1") == []
    assert len(site.query("select distinct worker from taken")) > 1
    assert site.query("select kind from job where kind <> 'store.discard' group by kind having count(*) > 1") == []


def test_a_migration_beside_running_replicas_disturbs_nobody(site: Site) -> None:
    """Tables that grow columns, as migrations of a next version make them, do not bother those who push and pull."""
    tables = site.query("select tablename from pg_tables where schemaname = 'public' order by 1")
    with customers(site.balancer, 3) as account:
        account.wait_for_more(3)
        for table in tables:
            site.query(
                f"alter table \"{table}\" add column of_the_future text not null default '';"
                f'create index "{table}_of_the_future" on "{table}" (of_the_future)'
            )
        account.wait_for_more(6)
    assert (account.wrong, account.disturbed) == ([], [])
    assert list_losses(site.balancer, account.ledger) == []


def test_a_rolling_restart_disturbs_nobody(site: Site) -> None:
    """Replicas restarted one after the other under load: while one drains, no request fails at all."""
    with customers(site.balancer, 3) as account:
        account.wait_for_more(3)
        for server in site.replicas.values():
            assert server.stop() == 0
            account.wait_for_more(3)
            server.start()
            site.require_all_up()
        account.wait_for_more(3)
    assert (account.wrong, account.disturbed) == ([], [])
    assert list_losses(site.balancer, account.ledger) == []


def test_a_killed_replica_loses_nothing(site: Site, rounds: int) -> None:
    """`kill -9` of one replica under load: clients see lost connections and 502 or 503 at most, everything that was
    acknowledged is there byte for byte, and names and bytes agree.
    """
    with customers(site.balancer, 3) as account:
        for number in range(2 * rounds):
            server = site.replicas[NAMES[number % len(NAMES)]]
            account.wait_for_more(3)
            server.kill_group()
            account.wait_for_more(3)
            server.start()
            site.require_all_up()
        account.wait_for_more(3)
    assert account.wrong == []
    assert list_losses(site.balancer, account.ledger) == []
    checked = check(site.replicas["one"], deep=True)
    assert (checked.code, checked.kinds) == (0, []), checked.report


def test_what_replicas_keep_for_themselves(site: Site, tmp_path: pathlib.Path) -> None:
    """A replica that starts with an empty folder serves everything: nothing that matters lies in a replica's own."""
    with Door(site.balancer) as door:
        raw = push_image(door, REPOSITORY, "own", 9000)
    server = site.replicas["three"]
    server.stop()
    server.data.rename(tmp_path / "old")
    server.start()
    site.require_all_up()
    with Door(server) as door:
        assert door.ask("GET", f"/v2/{REPOSITORY}/manifests/own").body == raw
        assert as_user(door, "GET", "/v2/", basic("admin", ADMIN_PASSWORD)).status == 200

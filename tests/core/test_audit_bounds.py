"""The audit log where there is much of it, and where two processes do the same."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine, Iterator

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from entrepot.core import audit_archive, audit_read, audit_verify
from entrepot.core.audit import flush_audit
from entrepot.core.audit_archive import archive
from entrepot.core.audit_forward import forward
from entrepot.core.audit_key import AuditKey, is_signed
from entrepot.core.audit_read import NEWEST, Span, list_records
from entrepot.core.audit_seal import problem_of_root, seal
from entrepot.core.audit_verify import verify
from entrepot.core.registry import Rules
from entrepot.domain.audit import DAY, NOBODY, Category, Filter, Head, Linked, new_record
from entrepot.domain.errors import Unavailable
from entrepot.metadata import audit_records, audit_roots
from entrepot.ports.database import Row, T, Tx, Work
from tests.support.images import image
from tests.support.world import World


class Collector:
    """The port Forwarder that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def send(self, messages: list[bytes]) -> None:
        self.messages += messages

    async def close(self) -> None:
        pass


@pytest.fixture
def logged() -> Iterator[World]:
    """A world whose log is kept for ever."""
    with World(rules=Rules(audit_days_in_database=2, audit_keep_days=0)) as world:
        for number in range(4):
            world.push("pub/app", image((b"layer %d" % number,)), f"v{number}")
        world.run(flush_audit(world.registry))
        world.run(seal(world.registry))
        yield world


def test_a_page_of_a_day_reads_the_page(logged: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is before and after it, of that day and of the next: each row may be a read of the disk."""
    today = logged.clock.now() // DAY

    async def work(tx: Tx) -> None:
        records = [new_record(Category.CHANGE, "x", (today - 10 + day) * DAY, ("eve", NOBODY)) for day in (0, 1, 2)]
        placed = enumerate(records * 300)
        await audit_records.add_rows(tx, [audit_records.row_of(each, Head("x", at), "") for at, each in placed])

    logged.transact(work)
    read: list[int] = []
    scan = audit_records.scan

    async def counted(tx: Tx, key: tuple[str, str], span: tuple[int, tuple[int, int]], limit: int) -> list[Linked]:
        rows = await scan(tx, key, span, limit)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(audit_records, "scan", counted)
    day = Filter(actor="eve", since=(today - 9) * DAY, until=(today - 8) * DAY)
    found, following = logged.run(list_records(logged.registry, logged.caller("admin"), day, Span(NEWEST, 10)))
    assert ([each.record.day for each in found], following is not None) == ([today - 9] * 10, True)
    assert read == [11]


def pages(world: World, wanted: Filter, limit: int) -> list[list[int]]:
    """The ids of each page."""
    found: list[list[int]] = []
    place: tuple[int, int] | None = NEWEST
    while place is not None:
        span = Span(place, limit)
        page, place = world.run(list_records(world.registry, world.caller("admin"), wanted, span))
        found.append([each.id for each in page])
    return found


def test_many_records_are_written_in_several_transactions(logged: World) -> None:
    """None is left over, and the chain is whole."""
    for number in range(1201):
        record = new_record(Category.SIGN_IN, "sign-in", logged.clock.now(), subject=str(number))
        logged.registry.audit.note(record)
    logged.run(flush_audit(logged.registry, is_last=True))
    assert logged.rows("select count(*) from audit where category = 'sign-in' and subject <> ''") == [(1201,)]
    assert logged.run(verify(logged.registry)).findings == []


def test_a_search_looks_at_a_bounded_part(logged: World) -> None:
    """Pages may be empty and still have a next one; nothing is passed over or told twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_read, "WINDOW", 2)
        patch.setattr(audit_read, "MOST_WINDOWS", 2)
        found = pages(logged, Filter(category="audit"), 5)
        assert [] in found
        assert [number for page in found for number in page] == [
            row[0] for row in logged.rows("select id from audit where category = 'audit' order by id desc")
        ]


def test_many_parts_are_searched_and_verified(logged: World) -> None:
    """Small parts of a day are read one after the other, as many as one request may look into."""
    everything = [row[0] for row in logged.rows("select id from audit order by id desc")]
    logged.clock.advance(days=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_archive, "SEGMENT", 3)
        patch.setattr(audit_archive, "MOST_SEGMENTS", 2)
        assert logged.run(archive(logged.registry)) == 2
        while logged.run(archive(logged.registry)):
            pass
        patch.setattr(audit_read, "MOST_SEGMENTS", 2)
        until = Filter(until=logged.clock.now() - 86_400_000_000)
        for limit in (1, 2, 5, 100):
            assert [number for page in pages(logged, until, limit) for number in page] == everything
    logged.run(seal(logged.registry))
    assert logged.run(verify(logged.registry)).findings == []
    # Whatever is exchanged between parts is found, though each is readable.
    rows = logged.rows("select pieces, digest from audit_segment order by id limit 2")
    logged.transact(lambda tx: tx.execute("update audit_segment set pieces = $1, digest = $2 where id = 1", *rows[1]))
    problems = [each.problem for each in logged.run(verify(logged.registry)).findings]
    assert "the archived records are not those that were written" in problems


def test_two_processes_archive_the_same_day(logged: World) -> None:
    """One of them does; what the other wrote into the store is deleted."""
    logged.clock.advance(days=4)
    held = len(logged.store.content)

    async def both() -> list[int]:
        return list(await asyncio.gather(archive(logged.registry), archive(logged.registry)))

    assert sorted(logged.run(both())) == [0, 1]
    assert len(logged.store.content) == held + 1
    logged.run(seal(logged.registry))
    assert logged.run(verify(logged.registry)).findings == []


def test_what_cannot_be_linked_is_not_archived(logged: World) -> None:
    """It waits for the next time."""
    logged.push("pub/app", image((b"late",)), "late")
    logged.clock.advance(days=4)

    async def nothing(registry: object) -> None:
        del registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_archive, "flush_audit", nothing)
        assert logged.run(archive(logged.registry)) == 0
    assert logged.run(archive(logged.registry)) == 1


def test_two_processes_seal_at_once(logged: World) -> None:
    """One root is made, and whoever comes second has nothing to do."""
    logged.push("pub/app", image((b"late",)), "late")
    logged.run(flush_audit(logged.registry))
    rows = logged.rows("select number, at, document, hash, key, signature from audit_root")
    logged.transact(lambda tx: tx.execute("delete from audit_root"))

    class Behind:
        """A database whose last root another process has just made."""

        def read(self, work: Work[T]) -> Awaitable[T]:
            return logged.database.read(work)

        async def transact(self, work: Work[T], **how: bool) -> T:
            marks = "($1, $2, $3, $4, $5, $6)"
            columns = "(number, at, document, hash, key, signature)"

            async def late(tx: object) -> T:
                value = await work(tx)
                await tx.execute(f"insert into audit_root {columns} values {marks}", *rows[0])
                return value

            return await logged.database.transact(late, **how)

    object.__setattr__(logged.registry, "database", Behind())
    assert logged.run(seal(logged.registry)) is None


def test_very_many_findings_are_counted(logged: World) -> None:
    """The first hundred are told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_verify, "MOST_FINDINGS", 3)
        logged.transact(lambda tx: tx.execute("update audit set actor = 'x'"))
        report = logged.run(verify(logged.registry))
    assert (len(report.findings), report.found > 3) == (3, True)


def test_verifying_does_not_go_on_for_ever(logged: World) -> None:
    """Where days are archived all the time, it says so."""
    numbers = iter(range(100))

    async def moving(tx: object) -> int:
        del tx
        return next(numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("entrepot.metadata.audit_segments.find_last_change", moving)
        with pytest.raises(Unavailable, match="while this looks"):
            logged.run(verify(logged.registry))


def test_what_is_archived_is_not_forwarded_any_more(logged: World) -> None:
    """It is passed over, and what came later is sent."""
    logged.clock.advance(days=4)
    logged.run(archive(logged.registry))
    logged.run(seal(logged.registry))
    receiver = Collector()
    while logged.run(forward(logged.registry, receiver)):
        pass
    # What was still held when the day was archived has come later.
    assert {message.split(b" ")[5] for message in receiver.messages} == {b"sign-in", b"root"}
    logged.push("pub/app", image((b"late",)), "late")
    logged.run(flush_audit(logged.registry))
    assert logged.run(forward(logged.registry, receiver)) > 0


def test_another_kind_of_key_is_refused() -> None:
    """Only EC keys sign and vouch."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(Unavailable, match="EC key"):
        AuditKey(lambda: pem).sign("00")
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert not is_signed(b64encode(public).decode(), "00", "")


def test_records_that_have_gone_are_passed_over(logged: World) -> None:
    """A chain of which nothing is left sends nothing, and is not looked at again."""
    logged.transact(lambda tx: tx.execute("delete from audit"))
    receiver = Collector()
    logged.run(forward(logged.registry, receiver))
    assert {message.split(b" ")[5] for message in receiver.messages} == {b"root"}
    assert logged.run(forward(logged.registry, receiver)) == 0


def test_small_pages_end_within_the_database(logged: World) -> None:
    """A page that is full needs no look at older days, and the pages together are the whole."""
    found = pages(logged, Filter(category="change"), 2)
    assert all(len(page) == 2 for page in found[:-1])
    wanted = [row[0] for row in logged.rows("select id from audit where category = 'change' order by id desc")]
    assert [number for page in found for number in page] == wanted


def test_a_root_follows_the_one_before_it(logged: World) -> None:
    """One that is genuine and follows another root is not taken for its follower."""
    logged.clock.advance(seconds=61)
    logged.push("pub/app", image((b"more",)), "more")
    logged.run(flush_audit(logged.registry))
    logged.run(seal(logged.registry))
    first, second = logged.run(logged.registry.database.read(lambda tx: audit_roots.list_roots(tx, 0, 9)))
    assert problem_of_root(second, first) == ""
    assert "does not follow" in problem_of_root(second, msgspec.structs.replace(first, hash="other"))


class Asked:
    """The port Tx that only hears what is asked."""

    def __init__(self) -> None:
        self.sql = ""

    async def all(self, sql: str, *arguments: object) -> list[Row]:
        del arguments
        self.sql = sql
        return []

    async def one(self, sql: str, *arguments: object) -> Row | None:
        raise NotImplementedError

    async def execute(self, sql: str, *arguments: object) -> int:
        raise NotImplementedError


@pytest.mark.parametrize("query", [audit_records.list_unsealed, audit_records.list_unforwarded])
def test_chains_of_the_past_cost_nothing(
    logged: World, query: Callable[[Tx, int], Coroutine[None, None, object]]
) -> None:
    """Which chains have grown is an index of its own: of a thousand processes that have ended none is looked at."""
    asked = Asked()
    logged.run(query(asked, 10))
    [plan] = logged.rows(f"explain query plan {asked.sql}", 10)
    assert "audit_chain_un" in plan[3]

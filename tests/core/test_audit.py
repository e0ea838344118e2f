"""The audit log: held, linked, sealed, archived, read, and found out when somebody touches it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from entrepot.core.audit import flush_audit, keep_audit
from entrepot.core.audit_archive import archive
from entrepot.core.audit_key import AuditKey, is_signed
from entrepot.core.audit_log import MANY, MOST_BUCKETS, MOST_HELD, ROOM, AuditLog
from entrepot.core.audit_read import NEWEST, Span, list_records
from entrepot.core.audit_seal import get_last_root, seal
from entrepot.core.audit_verify import verify
from entrepot.core.jobs import run_due
from entrepot.core.registry import SECOND
from entrepot.domain.access import Caller, Identity
from entrepot.domain.audit import OTHERS, By, Category, Filter, Head, Record, new_record
from entrepot.domain.errors import Unavailable
from entrepot.domain.policy import AccountPolicy
from tests.support.audit import execute, look, new_logged, problems, push
from tests.support.images import image
from tests.support.together import Together
from tests.support.world import World

NOW = 1_790_000_000 * SECOND
ACCOUNTS = {1: AccountPolicy("alice", is_admin=False, is_disabled=False, credentials_since=0)}


def denial(number: int, account: int = 0) -> Record:
    """A refusal that differs from others by its subject."""
    made = new_record(Category.DENIAL, "pull", NOW, (f"user{account}", By(account, "192.0.2.1")), f"acme/app{number}")
    return msgspec.structs.replace(made, is_allowed=False, reasons=("no",))


def settled(log: AuditLog, now: int = NOW) -> list[Record]:
    """Everything that a log holds, as it would be written at the end of the process."""
    log.settle(now, ACCOUNTS, is_last=True)
    return log.first(MOST_HELD)


def names(world: World, wanted: Filter, limit: int = 100) -> list[str]:
    """The kinds of records that are listed, all pages together."""
    found, place = [], NEWEST
    while True:
        page, following = world.run(list_records(world.registry, world.caller("admin"), wanted, Span(place, limit)))
        found += [each.record.action for each in page]
        if following is None:
            return found
        place = following


@pytest.fixture
def logged() -> Iterator[World]:
    """A world in which something has happened and was sealed."""
    with new_logged() as world:
        yield world


def test_equal_things_are_one_record() -> None:
    """Within ten seconds they are folded, with the first, the last and how many; others stay apart."""
    log = AuditLog()
    for second in (0, 3, 9):
        log.note(msgspec.structs.replace(denial(1), at=NOW + second * SECOND))
    log.note(denial(2))
    log.settle(NOW + 9 * SECOND, {})
    assert (log.first(10), log.waiting) == ([], 2)
    log.settle(NOW + 10 * SECOND, {})
    first, second = log.first(10)
    assert (first.count, first.first_at, first.last_at, second.count) == (3, NOW, NOW + 9 * SECOND, 1)


def test_strangers_fill_no_disk() -> None:
    """Of very many different refusals the late ones are counted together, those of known accounts apart."""
    log = AuditLog()
    for number in range(ROOM + 10):
        log.note(denial(number))
    log.note(denial(1, account=5))
    found = settled(log)
    assert len(found) == ROOM + 2
    [rest] = [each for each in found if each.subject == OTHERS]
    assert (rest.count, rest.actor, rest.address, found[-1].account) == (10, OTHERS, "", 5)


def test_what_cannot_be_held_is_counted() -> None:
    """Beyond the bound nothing is kept but how much it was, and from when to when."""
    log = AuditLog()
    assert log.gap(NOW) is None
    for number in range(MOST_HELD):
        log.note(msgspec.structs.replace(denial(number), is_allowed=True))
    log.note(msgspec.structs.replace(denial(1), subject="more", is_allowed=True, first_at=NOW + 5))
    log.note(msgspec.structs.replace(denial(1), subject="most", is_allowed=True, last_at=NOW + 7))
    gap = log.gap(NOW + 9)
    assert gap is not None
    assert (gap.action, gap.count, gap.first_at, gap.last_at, log.counts["lost"]) == ("gap", 2, NOW + 5, NOW + 7, 2)
    log.pulls.add(1, "acme/app")
    log.settle(NOW, {}, is_last=True)
    assert log.counts["lost"] == 3
    log.written(Head("a", 1, ""), 0, {}, gap)
    left = log.gap(NOW)
    assert left is not None
    assert left.count == 1
    log.written(Head("a", 1, ""), 0, {}, left)
    assert log.gap(NOW) is None


def test_very_many_records_are_written_before_their_time(world: World) -> None:
    """Whoever waits to write them is called as soon as there are many, long before so many that some are lost."""
    log = world.registry.audit
    world.run(keep_audit(world.registry, 0))
    for number in range(MANY):
        log.note(msgspec.structs.replace(denial(number), is_allowed=True))
    world.run(keep_audit(world.registry, 10**6))
    assert (log.waiting, log.counts["lost"]) == (0, 0)
    assert world.rows("select count(*) from audit where category = 'denial'") == [(MANY,)]
    assert problems(world) == []


@pytest.mark.parametrize("turns", range(5))
def test_whoever_waits_for_records_can_be_told_to_stop(turns: int) -> None:
    """A cancellation that comes together with what is waited for, in whichever turn of the loop, is not lost."""

    async def story() -> None:
        log = AuditLog()
        waiting = asyncio.ensure_future(log.wait(10**6))
        await asyncio.sleep(0)
        for number in range(MANY):
            log.note(msgspec.structs.replace(denial(number), is_allowed=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_told = waiting.cancel()
        [answer] = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(answer, asyncio.CancelledError) == is_told

    asyncio.run(story())


def test_what_no_database_takes_is_recorded_as_far_as_it_can_be() -> None:
    """Of a name with such characters the rest is recorded, and nothing that comes after it waits for it."""
    log = AuditLog()
    log.note(msgspec.structs.replace(denial(1), subject="acme/app:a\0b\ud800", reasons=("no a\0b",)))
    log.note(denial(2))
    first, second = settled(log)
    assert (first.subject, first.reasons, second.subject) == ("acme/app:a?b?", ("no a?b",), "acme/app2")


def test_a_log_that_cannot_be_written_does_not_grow(logged: World) -> None:
    """However often it is tried, and whatever it was that failed, nothing is left but what was there."""
    logged.registry.audit.note(denial(1))
    before = logged.rows("select count(*) from audit union all select count(*) from audit_chain")
    poison = "create trigger away before insert on audit when new.subject = 'acme/app1' "
    execute(logged, poison + "begin select raise(abort, 'away'); end")
    for _ in range(3):
        logged.clock.advance(seconds=11)
        with pytest.raises(Unavailable):
            logged.run(flush_audit(logged.registry))
    assert logged.rows("select count(*) from audit union all select count(*) from audit_chain") == before
    execute(logged, "drop trigger away")
    logged.run(flush_audit(logged.registry))
    assert logged.rows("select count(*) from audit where subject = 'acme/app1'") == [(1,)]
    assert problems(logged) == []


def test_pulls_are_counted_by_the_minute() -> None:
    """By account and repository, a bounded number of them; the rest is counted together."""
    log = AuditLog()
    for _ in range(3):
        log.pulls.add(1, "acme/app")
    log.pulls.add(0, "acme/app")
    log.settle(NOW, ACCOUNTS)
    assert [(each.actor, each.subject, each.count) for each in log.first(9)] == [
        ("alice", "acme/app", 3),
        ("", "acme/app", 1),
    ]
    log.pulls.add(2, "acme/app")
    log.settle(NOW + SECOND, {})
    assert len(log.first(9)) == 2
    log.settle(NOW + 60 * SECOND, {})
    assert log.first(9)[2].actor == "#2"
    for number in range(MOST_BUCKETS + 5):
        log.tokens.add(0, f"acme/app{number}")
    found = [each for each in settled(log) if each.category == Category.TOKEN]
    assert (len(found), found[-1].subject, found[-1].count) == (MOST_BUCKETS + 1, OTHERS, 5)


def test_everything_is_written_linked_and_sealed(logged: World) -> None:
    """A change has its record with address and proof, every record a place, and verifying finds nothing."""
    report = look(logged)
    assert (report.findings, report.roots, report.chains, len(report.keys)) == ([], 2, 1, 1)
    assert report.records == logged.rows("select sum(sequence) from audit_chain")[0][0]
    moved = logged.rows("select actor, subject, address, method from audit where action = 'tag.moved'")
    assert moved == [("admin", "pub/app", "198.51.100.7", "password")] * 4
    assert logged.rows("select actor, count(*) from audit where action = 'sign-in' group by actor") == []
    assert logged.run(seal(logged.registry)) is None
    logged.clock.advance(seconds=61)
    logged.run(flush_audit(logged.registry))
    assert logged.rows("select count from audit where action = 'sign-in'") == [(1,)]
    assert problems(logged) == []


def test_a_change_that_cannot_be_recorded_does_not_happen(logged: World) -> None:
    """While the log cannot be written, changes answer 503 and do nothing, and pulls go on; then the gap is told."""
    execute(
        logged,
        "create trigger away before insert on audit begin select raise(abort, 'away'); end",
    )
    before = logged.rows("select count(*) from event")
    answer = logged.client("admin").request("DELETE", "/v2/pub/app/manifests/v1")
    assert (answer.status, "away" in answer.json["errors"][0]["message"]) == (503, False)
    assert logged.rows("select count(*) from event") == before
    assert logged.client().request("GET", "/v2/pub/app/manifests/v1").status == 200
    logged.clock.advance(seconds=70)
    with pytest.raises(Unavailable):
        logged.run(flush_audit(logged.registry))
    held = logged.registry.audit.waiting
    assert held > 0
    execute(logged, "drop trigger away")
    logged.run(flush_audit(logged.registry))
    assert logged.registry.audit.waiting == 0
    assert logged.rows("select count(*) from audit where action = 'pull'") == [(1,)]
    # What came after is a chain of its own that names the one before.
    [(detail,)] = logged.rows("select detail from audit where action = 'chain.started' order by id desc limit 1")
    assert msgspec.json.decode(detail)["after"][1] > 1
    assert problems(logged) == []


def test_a_gap_is_told_once_the_log_can_be_written_again(logged: World) -> None:
    """One record says how much was lost."""
    log = logged.registry.audit
    log._lose(denial(1))
    push(logged, 9)
    assert logged.rows("select count from audit where action = 'gap'") == [(1,)]
    push(logged, 10)
    assert logged.rows("select count(*) from audit where action = 'gap'") == [(1,)]


def test_records_of_the_dead_are_linked_by_others(logged: World) -> None:
    """A change whose process ended before it linked it is in the chain of another one."""
    logged.push("pub/app", image((b"late",)), "late")
    logged.restart()
    logged.run(flush_audit(logged.registry))
    assert logged.rows("select count(*) from audit where chain = ''") == [(0,)]
    assert look(logged).chains == 2
    assert problems(logged) == []


def test_two_processes_do_not_take_the_same_record(logged: World) -> None:
    """Whoever comes second passes over it, and both chains are whole."""
    logged.push("pub/app", image((b"late",)), "late")
    other = logged.sibling_context().registry

    async def both() -> None:
        database = Together(logged.database, transactions=2)
        await asyncio.gather(*(flush_audit(replace(each, database=database)) for each in (logged.registry, other)))

    logged.run(both())
    assert problems(logged) == []


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("delete from audit_root where number = 1", "roots before this one are gone"),
        ("update audit_root set document = 'x' where number = 1", "the root cannot be read: it was changed"),
        ("update audit_root set at = at + 1 where number = 2", "the root is not what its hash was made of"),
        ("update audit_root set signature = '' where number = 2", "the signature is not of this root"),
        ("update audit_root set key = 'x' where number = 1", "the signature is not of this root"),
        ("update audit_chain set sequence = 1, hash = ''", "the end of the chain was set back"),
        ("update audit_chain set sequence = sequence + 1", "the record is gone"),
        ("delete from audit_chain", "the end of the chain was set back"),
        ("update audit_chain set hash = 'x'", "the end that is known of the chain is not the one sealed"),
        ("update audit_chain set sealed = sealed + 1", "no root has what is said to be sealed"),
        ("update audit set reasons = 'x' where id = 2", "it was changed"),
    ],
)
def test_what_is_known_of_the_log_is_guarded_too(logged: World, sql: str, problem: str) -> None:
    """Roots and the ends of chains cannot be changed without being found."""
    execute(logged, sql)
    assert any(problem in found for found in problems(logged)), problems(logged)


def test_a_root_that_is_kept_elsewhere_finds_a_log_that_was_cut(logged: World) -> None:
    """Cutting the log and its roots back is found by whoever kept a root, and so is another one in its place."""
    root = logged.run(get_last_root(logged.registry))
    assert root is not None
    known = (root.number, root.hash)
    assert logged.run(verify(logged.registry, known=known)).findings == []
    wrong = logged.run(verify(logged.registry, known=(1, root.hash)))
    assert [each.problem for each in wrong.findings] == ["it is not the root that was kept elsewhere"]
    execute(logged, "delete from audit_root where number = 2")
    cut = logged.run(verify(logged.registry, known=known))
    assert cut.findings[0].problem.startswith("the root that was kept elsewhere is gone")


def test_what_stands_still_is_told(logged: World) -> None:
    """Records that nobody links, and a log that nobody seals, are findings; a root says what it left out."""
    logged.push("pub/app", image((b"late",)), "late")
    logged.clock.advance(seconds=700)
    found = problems(logged)
    assert any("records have no chain yet" in each for each in found)
    execute(logged, "update audit_chain set sealed = 0, started_at = $1", logged.clock.now())
    execute(logged, "delete from audit_root")
    assert any("nothing was sealed since" in each for each in problems(logged))


def test_old_days_are_archived_and_still_there(logged: World) -> None:
    """They leave the table for the store, are listed as before, and verify; what is changed there is found."""
    changes = Filter(category="change")
    everything = names(logged, changes)
    logged.clock.advance(days=4)
    assert logged.run(archive(logged.registry)) == 1
    assert logged.rows("select count(*) from audit") == [(0,)]
    logged.run(seal(logged.registry))
    assert names(logged, changes) == everything
    assert names(logged, changes, 2) == everything
    assert names(logged, Filter(action="tag.moved", actor="admin"), 3) == ["tag.moved"] * 4
    assert names(logged, Filter(actor="nobody")) == names(logged, Filter(namespace="nowhere")) == []
    report = look(logged)
    assert (report.findings, report.segments, report.removed) == ([], 1, 0)
    [key] = logged.store.content.keys() & {
        key for (pieces,) in logged.rows("select pieces from audit_segment") for key, _ in msgspec.json.decode(pieces)
    }
    content = logged.store.content[key]
    logged.store.content[key] = content[:-1] + b"x"
    assert problems(logged) == ["part 1 of the archived audit log cannot be read: its bytes were changed"]
    del logged.store.content[key]
    assert problems(logged) == ["part 1 of the archived audit log cannot be read: its bytes are gone"]
    logged.store.content[key] = content
    execute(logged, "update audit_segment set digest = digest || 'x'")
    assert len(problems(logged)) == 2
    execute(logged, "delete from audit_segment")
    assert "an archived part of the log is gone, with what was known of it" in problems(logged)


def test_very_old_days_are_removed_and_the_rest_verifies(logged: World) -> None:
    """The bytes go, a signed summary stays; a removal that nobody recorded is found."""
    logged.clock.advance(days=4)
    logged.run(archive(logged.registry))
    logged.run(seal(logged.registry))
    held = set(logged.store.content)
    logged.clock.advance(days=7)
    logged.run(archive(logged.registry))
    logged.run(seal(logged.registry))
    # In the same transaction as the removal: nothing that ends in between leaves bytes that nobody knows of.
    [(keys,)] = logged.rows("select payload from job where kind = 'store.discard' and key like 'audit.%'")
    assert msgspec.json.decode(keys)[0] in logged.store.content
    logged.clock.advance(seconds=61)
    logged.run(run_due(logged.registry, "worker"))
    assert msgspec.json.decode(keys)[0] in held - set(logged.store.content)
    report = look(logged)
    assert (report.findings, report.removed) == ([], 1)
    assert names(logged, Filter(action="audit.removed")) == ["audit.removed"]
    push(logged, 5)
    assert problems(logged) == []
    execute(logged, "update audit_segment set summary = '{}'")
    assert "what is known of this archived part is not what was signed" in problems(logged)


def test_nothing_is_archived_before_it_is_linked(logged: World) -> None:
    """What changes have written and nobody has linked is linked first."""
    logged.push("pub/app", image((b"late",)), "late")
    logged.clock.advance(days=4)
    assert logged.run(archive(logged.registry)) == 1
    logged.run(seal(logged.registry))
    assert problems(logged) == []


def test_a_key_must_be_one_that_signs(world: World) -> None:
    """A file that holds no EC key, or is not there, is told as such; a signature holds for its digest only."""

    def missing() -> bytes:
        raise FileNotFoundError("audit-key.pem")

    for load in (missing, lambda: b"no key"):
        with pytest.raises(Unavailable, match=r"audit\.key_file"):
            AuditKey(load).sign("00")
    key = AuditKey()
    assert is_signed(key.public, "00", key.sign("00"))
    assert not is_signed(key.public, "01", key.sign("00"))
    assert not is_signed("", "00", key.sign("00"))


def test_only_administrators_and_owners_read(logged: World) -> None:
    """Owners read what is about their namespace; others nothing; reading is in the log."""
    alice, nobody = logged.caller("alice"), Caller(Identity(999, "nobody"), None)
    span = Span(NEWEST, 100)
    found, _ = logged.run(list_records(logged.registry, alice, Filter(namespace="pub"), span))
    assert {each.record.namespace for each in found} == {"pub"}
    for caller, wanted in ((alice, Filter()), (nobody, Filter(namespace="pub")), (alice, Filter(namespace="library"))):
        with pytest.raises(Exception, match=r"is refused|administrator"):
            logged.run(list_records(logged.registry, caller, wanted, span))
    logged.clock.advance(seconds=11)
    logged.run(flush_audit(logged.registry))
    assert logged.rows("select actor, detail from audit where action = 'audit.read'") == [
        ("alice", '{"namespace":"pub"}')
    ]

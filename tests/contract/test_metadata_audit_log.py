"""Rows of the audit log, over every engine."""

from __future__ import annotations

import msgspec
import pytest

from entrepot.domain.audit import DAY, By, Category, Head, Linked, Record, link, new_record, problem_of
from entrepot.domain.errors import AlreadyExists
from entrepot.domain.events import Event
from entrepot.metadata import audit_records, audit_roots, audit_segments, events
from entrepot.metadata.audit_records import FOREVER, LAST_ID
from entrepot.metadata.audit_roots import RootRow
from entrepot.metadata.audit_segments import NewSegment
from entrepot.ports.database import Tx
from tests.contract.engines import Held
from tests.contract.rows import NOW

TODAY = NOW // DAY
ALL = (0, (FOREVER, LAST_ID))
NOTHING = ("", "")


def record(number: int = 0, actor: str = "alice", subject: str = "acme/app") -> Record:
    """A record that says which one it is."""
    who = (actor, By(7, "198.51.100.7", "password"))
    made = new_record(Category.CHANGE, "tag.moved", NOW + number, who, subject)
    return msgspec.structs.replace(made, reasons=("why",), detail=f'{{"number":{number}}}')


def add(held: Held, records: list[Record], head: Head) -> Head:
    """Write linked records; the new end of the chain."""

    async def work(tx: Tx) -> Head:
        end, rows = head, []
        for each in records:
            end, previous = link(end, each)
            rows.append(audit_records.row_of(each, end, previous))
        await audit_records.add_rows(tx, rows)
        await audit_records.put_head(tx, end, NOW)
        return end

    return held.transact(work)


def segment(records: int, day: int = TODAY, span: tuple[int, int] = (1, 100)) -> NewSegment:
    """A part of a day."""
    return NewSegment(day, "[]", "sha256:0", records, *span, '["alice"]', "null", "{}")


def test_a_record_comes_back_as_it_was(held: Held) -> None:
    """Every field is stored; before it has a place its chain is empty, and it is in no chain's list."""
    held.transact(lambda tx: audit_records.add_record(tx, record(1)))
    assert held.read(audit_records.has_unlinked)
    [found] = held.transact(lambda tx: audit_records.take_unlinked(tx, 10))
    assert (found.record, found.chain, found.is_filed) == (record(1), "", True)
    assert held.read(lambda tx: audit_records.find_linked(tx, found.id)) == found
    assert held.read(lambda tx: audit_records.find_linked(tx, found.id + 1)) is None
    assert held.read(lambda tx: audit_records.list_links(tx, NOTHING_BEFORE, 10)) == []
    assert held.read(lambda tx: audit_records.count_unlinked(tx, NOW + 2, 10)) == 1
    assert held.read(lambda tx: audit_records.count_unlinked(tx, NOW, 10)) == 0


NOTHING_BEFORE = ("", 0)


def test_a_record_gets_one_place(held: Held) -> None:
    """The first who gives it one wins, and it verifies there."""
    held.transact(lambda tx: audit_records.add_record(tx, record(1)))
    [found] = held.transact(lambda tx: audit_records.take_unlinked(tx, 10))
    head, previous = link(Head("one"), found.record)
    other, _ = link(Head("two"), found.record)
    held.transact(lambda tx: audit_records.set_place(tx, found.id, head, previous))
    held.transact(lambda tx: audit_records.set_place(tx, found.id, other, previous))
    [linked] = held.read(lambda tx: audit_records.list_of_chain(tx, "one", 0, 10))
    assert (problem_of(linked), linked.sequence, held.read(audit_records.has_unlinked)) == ("", 1, False)


def test_many_records_are_written_together(held: Held) -> None:
    """More than one statement takes them; they come in the order of chain and place, by pages."""
    head = add(held, [record(number) for number in range(205)], Head("b"))
    add(held, [record(1)], Head("a"))
    first = held.read(lambda tx: audit_records.list_links(tx, NOTHING_BEFORE, 100))
    assert [(each.chain, each.sequence) for each in first[:3]] == [("a", 1), ("b", 1), ("b", 2)]
    after = first[-1].chain, first[-1].sequence
    rest = held.read(lambda tx: audit_records.list_links(tx, after, 200))
    assert (len(first), len(rest), rest[-1].hash, {problem_of(each) for each in first + rest}) == (
        100,
        106,
        head.hash,
        {""},
    )
    assert len(held.read(lambda tx: audit_records.list_of_chain(tx, "b", 200, 10))) == 5
    assert held.read(audit_records.count_written) == 206
    with pytest.raises(AlreadyExists):
        add(held, [record(1)], Head("a"))


def test_scans_go_back_in_time(held: Held) -> None:
    """By actor, by namespace or over all; from a day on, before a place, the newest first."""
    yesterday = msgspec.structs.replace(record(0), at=NOW - DAY)
    add(held, [record(1), record(2, "bob"), record(3, subject="other/app"), yesterday], Head("a"))

    def numbers(key: tuple[str, str], span: tuple[int, tuple[int, int]] = ALL, limit: int = 10) -> list[int]:
        found = held.read(lambda tx: audit_records.scan(tx, key, span, limit))
        return [found.record.at - NOW for found in found]

    assert numbers(NOTHING) == [3, 2, 1, -DAY]
    assert numbers(("actor", "alice")) == [3, 1, -DAY]
    assert numbers(("namespace", "acme")) == [2, 1, -DAY]
    assert numbers(NOTHING, (TODAY, ALL[1]), 2) == [3, 2]
    newest = held.read(lambda tx: audit_records.scan(tx, NOTHING, ALL, 1))[0]
    assert numbers(("actor", "alice"), (TODAY, newest.place)) == [1]
    of_day = held.read(lambda tx: audit_records.list_of_day(tx, TODAY - 1, 10))
    assert [each.record for each in of_day] == [yesterday]
    assert held.read(audit_segments.find_oldest_day) == TODAY - 1


def test_chains_know_how_far_they_are_sealed_and_forwarded(held: Held) -> None:
    """Those that have grown since are listed, until it is said again."""
    head = add(held, [record(1)], Head("a"))
    [chain] = held.read(lambda tx: audit_records.list_chains(tx, "", 10))
    assert (chain.head, chain.sealed, chain.forwarded, chain.started_at) == (head, 0, 0, NOW)
    held.transact(lambda tx: audit_records.set_sealed(tx, head))
    assert held.read(lambda tx: audit_records.list_unsealed(tx, 10)) == []
    held.transact(lambda tx: audit_records.set_forwarded(tx, "a", 1))
    assert held.read(lambda tx: audit_records.list_unforwarded(tx, 10)) == []
    grown = add(held, [record(2)], head)
    for query in (audit_records.list_unsealed, audit_records.list_unforwarded):
        [chain] = held.read(lambda tx, query=query: query(tx, 10))
        assert chain.head == grown


def test_an_event_is_a_record(held: Held) -> None:
    """Both are written together, the record with whose doing it was."""
    by = By(3, "192.0.2.1", "ldap")
    held.transact(lambda tx: events.add_event(tx, Event("grant.given", "alice", "acme", {"role": "reader"}), NOW, by))
    [found] = held.transact(lambda tx: audit_records.take_unlinked(tx, 10))
    wanted = new_record(Category.CHANGE, "grant.given", NOW, ("alice", by), "acme")
    assert found.record == msgspec.structs.replace(wanted, detail='{"role":"reader"}')


def test_roots_come_in_their_order(held: Held) -> None:
    """The last one is found, each by its number, and no number is given twice."""
    rows = [RootRow(number, NOW, "{}", f"hash {number}", "key", "signature") for number in (1, 2, 3)]
    assert held.read(audit_roots.find_last_root) is None
    for row in rows:
        held.transact(lambda tx, row=row: audit_roots.add_root(tx, row))
    assert held.read(audit_roots.find_last_root) == rows[2]
    assert held.read(lambda tx: audit_roots.list_roots(tx, 1, 1)) == [rows[1]]
    with pytest.raises(AlreadyExists):
        held.transact(lambda tx: audit_roots.add_root(tx, rows[0]))
    held.transact(lambda tx: audit_roots.set_roots_forwarded(tx, 2))
    assert held.read(lambda tx: audit_roots.list_unforwarded_roots(tx, 9)) == [rows[2]]


def test_a_segment_takes_its_records_along(held: Held) -> None:
    """Those of its day and ids leave the table; what is left is counted."""
    add(held, [record(1), msgspec.structs.replace(record(2), at=NOW - DAY)], Head("a"))
    assert held.transact(lambda tx: audit_segments.add_segment(tx, segment(1))) == 1
    left = held.read(lambda tx: audit_records.scan(tx, NOTHING, ALL, 10))
    assert [each.record.at for each in left] == [NOW - DAY]


def test_segments_are_sealed_listed_and_removed(held: Held) -> None:
    """The newest first for readers, by id for whoever verifies; removed ones stay only for the latter."""
    assert held.read(audit_segments.find_last_change) == (0, 0)
    for new in (segment(1, TODAY - 2), segment(1, TODAY - 1, (101, 200)), segment(1, TODAY - 1, (201, 300))):
        held.transact(lambda tx, new=new: audit_segments.add_segment(tx, new))
    rows = held.read(lambda tx: audit_segments.list_all_segments(tx, 0, 10))
    ids = [row.id for row in rows]
    assert held.read(audit_segments.find_last_change) == (ids[-1], 0)
    listed = held.read(lambda tx: audit_segments.list_segments(tx, (TODAY - 1, (TODAY, 0)), 10))
    assert [row.id for row in listed] == [ids[2], ids[1]]
    before = held.read(lambda tx: audit_segments.list_segments(tx, (0, (TODAY - 1, 201)), 10))
    assert [row.id for row in before] == [ids[1], ids[0]]
    assert [row.id for row in held.read(lambda tx: audit_segments.list_unsealed_segments(tx, 10))] == ids
    assert held.read(lambda tx: audit_segments.list_expired_segments(tx, TODAY, 10)) == []
    held.transact(lambda tx: audit_segments.set_segment_sealed(tx, ids[0], 4))
    [expired] = held.read(lambda tx: audit_segments.list_expired_segments(tx, TODAY, 10))
    assert (expired.id, expired.sealed, expired.new) == (ids[0], 4, segment(1, TODAY - 2))
    held.transact(lambda tx: audit_segments.set_removed(tx, ids[0], NOW))
    assert [row[0] for row in held.read(lambda tx: audit_segments.list_segment_pieces(tx, 0, 10))] == ids[1:]
    assert held.read(lambda tx: audit_segments.list_all_segments(tx, 0, 1))[0].removed_at == NOW
    assert held.read(audit_segments.find_last_change) == (ids[-1], NOW)
    # One that is gone is not sealed any more.
    held.transact(lambda tx: audit_segments.set_removed(tx, ids[1], NOW))
    assert [row.id for row in held.read(lambda tx: audit_segments.list_unsealed_segments(tx, 10))] == ids[2:]
    assert Linked(1, record(), "", 0, "", "").place == (TODAY, 1)

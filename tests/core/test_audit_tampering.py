"""The audit log in the hands of somebody who may write to every table and to the store, and has no key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.audit_archive import REMOVED, _pack, _unpack, archive, describe
from entrepot.core.audit_seal import seal
from entrepot.domain.audit import DAY, Category, Head, link, new_record
from entrepot.metadata import audit_records, audit_segments
from entrepot.ports.database import Row, Tx
from tests.support.audit import RULES, execute, look, new_logged, problems, push, rewrite
from tests.support.images import image
from tests.support.world import World

FIELDS = (
    "day", "at", "category", "action", "actor", "account", "subject", "namespace", "address", "method", "is_allowed",
    "reasons", "count", "first_at", "last_at", "detail", "chain", "sequence", "previous", "hash",
)  # fmt: skip


@pytest.fixture
def logged() -> Iterator[World]:
    """A world in which something has happened and was sealed."""
    with new_logged() as world:
        yield world


class _Tampering:
    """A log that is put back as it was after each example: days that were removed, that are archived, and of today."""

    TABLES = ("audit", "audit_chain", "audit_segment", "audit_root")

    def __init__(self) -> None:
        self.world = World(rules=RULES)
        for days in (4, 9, 0):
            for number in range(3):
                push(self.world, number)
            # What went before is the chain of a process that has ended.
            self.world.restart()
            push(self.world, 4)
            self.world.run(seal(self.world.registry))
            self.world.clock.advance(days=days)
            self.world.run(archive(self.world.registry))
            self.world.run(seal(self.world.registry))
        self.held = {table: self.world.rows(f"select * from {table}") for table in self.TABLES}
        self.columns = {table: self._columns(table) for table in self.TABLES}
        self.rows = self.world.rows(f"select id, {', '.join(FIELDS)} from audit order by id")

    def _columns(self, table: str) -> list[str]:
        return [row[0] for row in self.world.rows(f"select name from pragma_table_info('{table}') order by cid")]

    def put_back(self) -> None:
        """Make the tables what they were."""

        async def restore(tx: Tx) -> None:
            for table in self.TABLES:
                await tx.execute(f"delete from {table}")
                marks = ", ".join(f"${number + 1}" for number in range(len(self.columns[table])))
                for row in self.held[table]:
                    await tx.execute(f"insert into {table} values ({marks})", *row)

        self.world.transact(restore)

    def forge_segment(self, rows: list[Row], removed_at: int | None) -> None:
        """Take records away behind a segment that says of them just what was true, and was never there or is gone."""

        async def work(tx: Tx) -> None:
            held = [await audit_records.find_linked(tx, row[0]) for row in rows]
            records = [each for each in held if each]
            assert await audit_segments.add_segment(tx, msgspec.structs.replace(describe(records), pieces="[]")) == len(
                records
            )
            number, _ = await audit_segments.find_last_change(tx)
            sql = "update audit_segment set removed_at = $1 where id = $2"
            await tx.execute(sql, removed_at, number)
            await audit_records.add_record(
                tx, new_record(Category.AUDIT, REMOVED, removed_at or 0, subject=str(number))
            )

        self.world.transact(work)

    def seal(self) -> None:
        """What the registry does each minute, whatever the tables say."""
        self.world.run(seal(self.world.registry))


@pytest.fixture(scope="module")
def tampering() -> Iterator[_Tampering]:
    """One log for all examples."""
    held = _Tampering()
    yield held
    held.world.close()


def _other(value: Any, name: str) -> Any:
    if isinstance(value, int):
        return 1 - value if name == "is_allowed" else value + 1
    return '["another"]' if name == "reasons" else f"{value}x"


@given(st.data())
def test_any_tampering_is_found(tampering: _Tampering, data: st.DataObject) -> None:
    """Whatever field of whatever record is changed, whatever is removed, exchanged, cut off or put in."""
    world, rows = tampering.world, tampering.rows
    tampering.put_back()
    assert problems(world) == []
    victim: Row = data.draw(st.sampled_from(rows))
    how = data.draw(st.sampled_from([*FIELDS, "remove", "cut", "exchange", "insert"]))
    if how in FIELDS:
        value = _other(victim[1 + FIELDS.index(how)], how)
        if how == "sequence":
            execute(world, "delete from audit where sequence = $1 and chain = $2", value, victim[17])
        execute(world, f"update audit set {how} = $1 where id = $2", value, victim[0])
    elif how == "remove":
        execute(world, "delete from audit where id = $1", victim[0])
    elif how == "cut":
        execute(world, "delete from audit where sequence >= $1 and chain = $2", victim[18], victim[17])
    elif how == "exchange":
        other: Row = data.draw(st.sampled_from([row for row in rows if row[17] == victim[17] and row != victim]))
        execute(world, "update audit set sequence = -1 where id = $1", victim[0])
        execute(world, "update audit set sequence = $1 where id = $2", victim[18], other[0])
        execute(world, "update audit set sequence = $1 where id = $2", other[18], victim[0])
    else:
        copied = ", ".join(name for name in FIELDS if name not in {"chain", "sequence"})
        chain = data.draw(st.sampled_from([victim[17], "another"]))
        sql = f"insert into audit (chain, sequence, {copied}) select $1, $2, {copied} from audit where id = $3"
        execute(world, sql, chain, len(rows) + 1, victim[0])
    assert problems(world) != []


@given(st.data())
def test_a_sealed_chain_cannot_be_rewritten(tampering: _Tampering, data: st.DataObject) -> None:
    """With right hashes and a right end, grown or not, signed again by the registry or not: an older root tells."""
    tampering.put_back()
    victim: Row = data.draw(st.sampled_from(tampering.rows))
    rewrite(tampering.world, victim[17], victim[18])
    if data.draw(st.booleans(), "signed again"):
        execute(tampering.world, "update audit_chain set sealed = 0")
    if data.draw(st.booleans(), "grown"):
        tampering.world.push("pub/app", image((b"more",)), "more")
    if data.draw(st.booleans(), "sealed"):
        tampering.seal()
    found = problems(tampering.world)
    assert any("not the record that was sealed" in each or "not the one sealed" in each for each in found), found


@given(st.data())
def test_records_cannot_be_removed_behind_a_segment(tampering: _Tampering, data: st.DataObject) -> None:
    """One that was never archived is no excuse, whenever it is said to have been removed, and is never signed."""
    tampering.put_back()
    world = tampering.world
    first = data.draw(st.integers(0, len(tampering.rows) - 1))
    count = data.draw(st.integers(1, len(tampering.rows) - first))
    removed_at = data.draw(st.sampled_from([None, 1, world.clock.now(), world.clock.now() + 10**15]))
    tampering.forge_segment(tampering.rows[first : first + count], removed_at)
    if data.draw(st.booleans(), "said to be sealed"):
        execute(world, "update audit_segment set sealed = $1 where sealed = 0", data.draw(st.integers(-1, 99)))
    tampering.seal()
    assert problems(world) != []
    tampering.seal()
    assert problems(world) != []


@given(st.data())
def test_what_is_known_of_archived_parts_cannot_be_changed(tampering: _Tampering, data: st.DataObject) -> None:
    """Whatever is said of a part that is still there, signed again or not, and when one was removed."""
    tampering.put_back()
    world = tampering.world
    kept = world.rows("select * from audit_segment where removed_at is null")
    gone = world.rows("select * from audit_segment where removed_at is not null")
    columns = tampering.columns["audit_segment"]
    is_gone = data.draw(st.booleans(), "of one that was removed")
    victim: Row = data.draw(st.sampled_from(gone if is_gone else kept))
    # Where the bytes of a removed part were, and who was in them, nobody asks any more.
    left = ["id", "day", "digest", "summary", "removed_at"]
    known = [name for name in columns if name not in {"id", "sealed", "removed_at"}]
    name = data.draw(st.sampled_from(left if is_gone else [*known, "id", "removed_at"]))
    if name == "removed_at":
        times = [1, victim[1] * DAY + 10 * DAY, world.clock.now() + 10**15, *([] if is_gone else [world.clock.now()])]
        value: Any = data.draw(st.sampled_from(times))
    else:
        value = "[]" if name in {"pieces", "actors", "namespaces"} else _other(victim[columns.index(name)], name)
        value = value + 1000 if name == "id" else value
    execute(world, f"update audit_segment set {name} = $1 where id = $2", value, victim[0])
    if data.draw(st.booleans(), "signed again"):
        execute(world, "update audit_segment set sealed = 0")
    if data.draw(st.booleans(), "sealed"):
        tampering.seal()
    assert problems(world) != [], name


def test_a_part_whose_bytes_are_nonsense_is_told_and_never_signed(logged: World) -> None:
    """Bytes that are no records, none at all, or nowhere: sealing goes on without that part, and verifying names it."""
    logged.clock.advance(days=4)
    logged.run(archive(logged.registry))
    [(pieces,)] = logged.rows("select pieces from audit_segment")
    [(key, size)] = msgspec.json.decode(pieces, type=list[tuple[str, int]])
    content = logged.store.content[key]
    for other, problem in (
        (b"x" * size, "its bytes are no records"),
        (zstd.compress(b"{}"), "its bytes are no records"),
        (zstd.compress(b""), "it holds nothing"),
    ):
        logged.store.content[key] = other
        told = [f'[["{key}",{len(other)}]]', f"sha256:{hashlib.sha256(other).hexdigest()}"]
        execute(logged, "update audit_segment set pieces = $1, digest = $2", *told)
        logged.run(seal(logged.registry))
        assert any(problem in each for each in problems(logged))
        assert logged.rows("select sealed from audit_segment") == [(0,)]
    execute(logged, "update audit_segment set pieces = 'x'")
    assert any("nobody knows where its bytes are" in each for each in problems(logged))
    logged.store.content[key] = content
    told = [pieces, f"sha256:{hashlib.sha256(content).hexdigest()}"]
    execute(logged, "update audit_segment set pieces = $1, digest = $2", *told)
    logged.run(seal(logged.registry))
    assert problems(logged) == []


def test_a_removal_that_the_registry_was_talked_into_is_found(logged: World) -> None:
    """A part that is said to be sealed, and to lie nowhere, is removed when it is old: verifying tells."""
    logged.clock.advance(days=4)
    logged.run(archive(logged.registry))
    execute(logged, "update audit_segment set pieces = '[]', sealed = 1")
    logged.clock.advance(days=9)
    logged.run(archive(logged.registry))
    assert logged.rows("select count(*) from job where key like 'audit.%'") == [(0,)]
    assert "it was removed, and no root holds what was known of it" in problems(logged)


def test_what_was_rewritten_before_it_was_archived_is_found_when_it_is_gone(logged: World) -> None:
    """The registry signs the part, and removes it in its time: roots from before still say otherwise."""
    [(chain,)] = logged.rows("select id from audit_chain")
    rewrite(logged, chain, 3)
    for days in (4, 7):
        logged.clock.advance(days=days)
        logged.run(archive(logged.registry))
        logged.run(seal(logged.registry))
        assert 0 not in [row[0] for row in logged.rows("select sealed from audit_segment")]
    assert look(logged).removed == 1
    assert "the removed records up to here are not those that were sealed" in problems(logged)


def test_a_part_that_is_exchanged_for_another_is_found(logged: World) -> None:
    """Bytes with right hashes and all that is known of them exchanged, and signed again: the older root tells."""
    logged.clock.advance(days=4)
    logged.run(archive(logged.registry))
    logged.run(seal(logged.registry))
    [(pieces,)] = logged.rows("select pieces from audit_segment")
    [(key, _)] = msgspec.json.decode(pieces, type=list[tuple[str, int]])
    records = _unpack(logged.store.content[key])
    last = msgspec.structs.replace(records[-1].record, actor="mallory")
    head, _ = link(Head(records[-1].chain, records[-1].sequence - 1, records[-1].previous), last)
    content = _pack([*records[:-1], msgspec.structs.replace(records[-1], record=last, hash=head.hash)])
    logged.store.content[key] = content
    told, digest = describe(_unpack(content)), f"sha256:{hashlib.sha256(content).hexdigest()}"
    sql = "update audit_segment set pieces = $1, digest = $2, actors = $3, summary = $4, sealed = 0"
    execute(logged, sql, f'[["{key}",{len(content)}]]', digest, told.actors, told.summary)
    logged.run(seal(logged.registry))
    assert logged.rows("select sealed from audit_segment") != [(0,)]
    found = problems(logged)
    assert "an older root says something else of this archived part" in found
    assert "it is not the record that was sealed in this place" in found


def test_a_removal_that_was_not_due_or_not_recorded_is_found(logged: World) -> None:
    """Whoever removes a part by hand is found: before a root holds it, before its time, and without a record."""
    logged.clock.advance(days=4)
    logged.run(archive(logged.registry))
    sql = "update audit_segment set removed_at = $1"
    execute(logged, sql, logged.clock.now())
    assert problems(logged) == ["it was removed, and no root holds what was known of it"]
    execute(logged, sql, None)
    logged.run(seal(logged.registry))
    for days, problem in (
        (-1, "it was removed at a time at which it cannot have been"),
        (1, "it was removed at a time at which it cannot have been"),
        (0, "it was removed before its time: audit.keep_days had not passed"),
    ):
        execute(logged, sql, logged.clock.now() + days * DAY)
        assert problems(logged) == [problem]
    logged.clock.advance(days=7)
    execute(logged, sql, logged.clock.now())
    assert problems(logged) == ["it was removed, and no record tells of that"]
    # The record of a removal is removed in its time.
    logged.clock.advance(days=11)
    assert problems(logged) == []

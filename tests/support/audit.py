"""An audit log in which something has happened, and somebody with access to its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from entrepot.core.audit import flush_audit
from entrepot.core.audit_seal import seal
from entrepot.core.audit_verify import Report, verify
from entrepot.core.registry import Rules
from entrepot.domain.audit import Head, link
from entrepot.metadata import audit_records
from entrepot.ports.database import Tx
from tests.support.images import image
from tests.support.world import World

RULES = Rules(audit_days_in_database=2, audit_keep_days=10)


def push(world: World, number: int) -> None:
    """A change with its records."""
    world.push("pub/app", image((b"layer %d" % number,)), f"v{number}")
    world.run(flush_audit(world.registry))


def look(world: World) -> Report:
    """What verifying finds."""
    return world.run(verify(world.registry))


def problems(world: World) -> list[str]:
    """The problems alone."""
    return [finding.problem for finding in look(world).findings]


def execute(world: World, sql: str, *arguments: object) -> int:
    """Somebody with access to the database."""
    return world.transact(lambda tx: tx.execute(sql, *arguments))


def rewrite(world: World, chain: str, place: int) -> None:
    """Let a record say something else, with all hashes from there on, and the end of its chain, made right."""

    async def work(tx: Tx) -> None:
        head: Head | None = None
        for each in await audit_records.list_of_chain(tx, chain, 0, 1000):
            actor = "mallory" if each.sequence == place else each.record.actor
            record = msgspec.structs.replace(each.record, actor=actor)
            head, previous = link(head or Head(chain, each.sequence - 1, each.previous), record)
            sql = "update audit set actor = $1, previous = $2, hash = $3 where id = $4"
            await tx.execute(sql, actor, previous, head.hash, each.id)
        assert head is not None
        await tx.execute("update audit_chain set hash = $1 where id = $2", head.hash, chain)

    world.transact(work)


@contextmanager
def new_logged() -> Iterator[World]:
    """A world in which something has happened and was sealed."""
    with World(rules=RULES) as world:
        for number in range(3):
            push(world, number)
        world.run(seal(world.registry))
        push(world, 3)
        world.run(seal(world.registry))
        yield world

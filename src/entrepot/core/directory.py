"""People of a directory: their passwords are proved there, and accounts and teams here follow what it says.

An account of the directory has no password here. It is made by the first login, is a member of the teams that its
groups stand for, and is disabled while the directory does not have it. What was given here by hand stays untouched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from entrepot.core.accounts import require_free
from entrepot.core.registry import Registry
from entrepot.domain.access import Identity
from entrepot.domain.audit import SYSTEM
from entrepot.domain.directory import LDAP, Group, Person
from entrepot.domain.errors import AlreadyExists, Denied, NameInvalid, TooMany, Unavailable
from entrepot.domain.events import Event
from entrepot.domain.names import require_free_name
from entrepot.metadata import directory, events, policy, team_groups
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.directory import LinkedRow
from entrepot.metadata.team_groups import MappedTeamRow
from entrepot.ports.database import Tx
from entrepot.ports.directory import Directory

# Who did it, in events; the colon keeps it apart from every user.
ACTOR: Final = "ldap:directory"
BATCH: Final = 50


class _Change(msgspec.Struct, frozen=True):
    """What makes the memberships of an account equal to its groups: teams by id and name, organisations by id."""

    joins: dict[int, str]
    leaves: dict[int, str]
    enters: list[int]
    exits: list[int]

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.joins or self.leaves or self.enters or self.exits)


def find_directory(registry: Registry, account: AccountRow | None, name: str) -> Directory | None:
    """The directory if it is the one to ask for this name: not for local accounts, and not for service accounts."""
    is_ours = account is not None and account.source != LDAP
    # Only service accounts have a $ in their names, and no database holds a NUL.
    return None if is_ours or "$" in name or "\0" in name else registry.directory


async def prove(
    registry: Registry, where: Directory, pair: tuple[str, str], before: AccountRow | None
) -> tuple[Identity, int] | None:
    """The identity of a name and password of the directory, its account made or brought up to date; None if not theirs.

    With it since when its credentials are good, as `before` said it, the account before the directory was asked. Raises
    Unavailable while the directory is away, and Denied for somebody who cannot have an account here.
    """
    person = await where.log_in(*pair)
    if person is None or person.is_disabled:
        return None
    linked = await registry.database.read(lambda tx: _find_settled(tx, person))
    if linked is None:
        linked = await _settle(registry, person)
    if linked.is_disabled:
        raise Denied("the directory knows you, and your account here is disabled", user=person.name)
    known = before if before is not None and before.id == linked.id else linked
    return Identity(linked.id, linked.name), known.credentials_since


async def require_not_theirs(registry: Registry, name: str) -> None:
    """Raise AlreadyExists for a name of the directory, which is nobody else's to take, whether they have come or not.

    Raises Unavailable, TooMany while the directory cannot be asked.
    """
    if registry.directory is not None and name in await registry.directory.find([name]):
        raise AlreadyExists("this is the name of somebody in the directory; choose another one", user=name)


async def check_accounts(registry: Registry) -> None:
    """Look for every account of the directory there, and let accounts and teams here follow. A job, every 5 minutes.

    A directory that is away changes nothing.
    """
    if registry.directory is None:
        return
    after = ""
    while rows := await _list_linked(registry, after):
        after = rows[-1].name
        try:
            found = await registry.directory.find([row.name for row in rows])
        except (Unavailable, TooMany):
            # Later, not again and again: what recurs is not to end as a dead letter.
            return
        for row in rows:
            await _follow(registry, row, found.get(row.name))
    await registry.policy.refresh()


async def _list_linked(registry: Registry, after: str) -> list[LinkedRow]:
    return await registry.database.read(lambda tx: directory.list_linked(tx, after, BATCH))


async def _follow(registry: Registry, seen: LinkedRow, person: Person | None) -> None:
    there = person if person is not None and not person.is_disabled and _is_same(seen, person) else None
    if there is not None and await registry.database.read(lambda tx: _find_settled(tx, there)) is not None:
        return
    now = registry.clock.now()

    async def record(tx: Tx) -> None:
        row = await directory.find_linked(tx, seen.name)
        if row is None:
            return
        if there is not None:
            await _update(tx, row, there, now)
        elif row.gone_at is None or not row.is_disabled:
            await _lose(tx, row, "disabled in the directory" if person else "not in the directory any more", now)

    await registry.database.transact(record)


async def _settle(registry: Registry, person: Person) -> LinkedRow:
    now, may_make = registry.clock.now(), registry.rules.create_accounts

    async def record(tx: Tx) -> LinkedRow:
        row = await directory.find_linked(tx, person.name) or await _make(tx, person, now, may_make=may_make)
        if not _is_same(row, person):
            raise Denied(
                "the account of this name belonged to somebody else in the directory; an administrator removes it: "
                f"entrepot user remove {person.name}",
                user=person.name,
            )
        await _update(tx, row, person, now)
        return await directory.find_linked(tx, person.name) or row

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def _make(tx: Tx, person: Person, now: int, *, may_make: bool) -> LinkedRow:
    if not may_make:
        raise Denied("the directory knows you, but makes no accounts here; ask an administrator", user=person.name)
    try:
        require_free_name(person.name)
        await require_free(tx, person.name)
    except (NameInvalid, AlreadyExists) as error:
        raise Denied(
            "the directory knows you, but your name there cannot be the name of an account here; ask an administrator",
            user=person.name,
            reasons=[error.message],
        ) from None
    number = await directory.add_linked(tx, person.name, person.id, now)
    await _note(tx, Event("user.created", ACTOR, person.name, {"administrator": False, "source": LDAP}), now)
    return LinkedRow(number, person.name, person.id, is_disabled=False, gone_at=None, credentials_since=now)


def _is_same(row: LinkedRow, person: Person) -> bool:
    # Names are given again to others; where the directory says so, what the one before had here is not for them.
    return not (row.external and person.id) or row.external == person.id


async def _find_settled(tx: Tx, person: Person) -> LinkedRow | None:
    """The account of a person if nothing about it is to be changed."""
    row = await directory.find_linked(tx, person.name)
    if row is None or row.gone_at is not None or not _is_same(row, person):
        return None
    return row if (await _compare(tx, row.id, person)).is_empty else None


async def _update(tx: Tx, row: LinkedRow, person: Person, now: int) -> None:
    if row.gone_at is not None:
        await directory.set_back(tx, row.id)
        await _note(tx, Event("user.enabled", ACTOR, row.name, {"reason": "the directory has it again"}), now)
    await _apply(tx, row, await _compare(tx, row.id, person), now)


async def _lose(tx: Tx, row: LinkedRow, reason: str, now: int) -> None:
    await _apply(tx, row, await _compare(tx, row.id, Person(row.name, "")), now)
    if row.is_disabled:
        # By somebody here: then it is not for the directory to enable it again.
        return
    await directory.set_gone(tx, row.id, now)
    await _note(tx, Event("user.disabled", ACTOR, row.name, {"reason": reason}), now)


async def _compare(tx: Tx, account: int, person: Person, source: str = LDAP) -> _Change:
    wanted = _teams_of(person, await team_groups.list_mapped_teams(tx) if person.groups else [])
    held = await directory.list_memberships(tx, account)
    organisations = await directory.list_organisations(tx, account)
    given = {row.organisation for row in held if row.source != source} | {row.organisation for row in wanted.values()}
    kept = {row.team for row in held}
    return _Change(
        joins={row.team: row.name for row in wanted.values() if row.team not in kept},
        leaves={row.team: row.name for row in held if row.source == source and row.team not in wanted},
        enters=sorted({row.organisation for row in wanted.values()} - set(organisations)),
        exits=sorted(number for number, giver in organisations.items() if giver == source and number not in given),
    )


def _teams_of(person: Person, mapped: Iterable[MappedTeamRow]) -> dict[int, MappedTeamRow]:
    keys = frozenset[str]().union(*(group.keys for group in person.groups))
    return {row.team: row for row in mapped if row.key in keys}


async def set_memberships(tx: Tx, whose: LinkedRow, groups: tuple[Group, ...], source: str, now: int) -> None:
    """Make the teams that an account is in by one source those that its groups there stand for."""
    person = Person(whose.name, "", groups=groups)
    await _apply(tx, whose, await _compare(tx, whose.id, person, source), now, source)


async def _apply(tx: Tx, row: LinkedRow, change: _Change, now: int, source: str = LDAP) -> None:
    if change.is_empty:
        return
    for organisation in change.enters:
        await directory.add_to_organisation(tx, organisation, row.id, now, source)
    for team in change.joins:
        await directory.add_membership(tx, team, row.id, now, source)
    for team in change.leaves:
        await directory.remove_membership(tx, team, row.id, source)
    for organisation in change.exits:
        await directory.remove_from_organisation(tx, organisation, row.id, source)
    detail: dict[str, object] = {"joined": sorted(change.joins.values()), "left": sorted(change.leaves.values())}
    await _note(tx, Event("user.teams", ACTOR if source == LDAP else source, row.name, detail), now)


async def _note(tx: Tx, event: Event, now: int) -> None:
    await policy.bump_policy_version(tx)
    await events.add_event(tx, event, now, SYSTEM)

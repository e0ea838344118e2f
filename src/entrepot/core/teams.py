"""Teams of an organisation: made, described and removed by its owners, and who is in them."""

from __future__ import annotations

import msgspec

from entrepot.core.changes import note, require_description
from entrepot.core.decide import require
from entrepot.core.listing import Page, cut
from entrepot.core.organisations import admit, get_organisation_row, get_user
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import AccountUnknown, AlreadyExists, TeamUnknown, Unmet
from entrepot.domain.events import Event
from entrepot.domain.names import parse_label
from entrepot.metadata import organisations, teams
from entrepot.metadata.teams import TeamMemberRow, TeamRow
from entrepot.ports.database import Tx


class TeamName(msgspec.Struct, frozen=True):
    """A team as people write it: `organisation/team`."""

    organisation: str
    team: str

    def __str__(self) -> str:
        return f"{self.organisation}/{self.team}"


async def list_teams(
    registry: Registry, caller: Caller, organisation: str, page: Page
) -> tuple[list[TeamRow], str | None]:
    """The teams of an organisation, by name. Raises OrganisationUnknown."""

    async def collect(tx: Tx) -> list[TeamRow]:
        row = await get_organisation_row(tx, caller, organisation)
        return await teams.list_teams(tx, row.id, page.after, page.limit + 1)

    return cut(await registry.database.read(collect), page, lambda row: row.name)


async def get_team(registry: Registry, caller: Caller, name: TeamName) -> TeamRow:
    """One team. Raises OrganisationUnknown, TeamUnknown."""
    return await registry.database.read(lambda tx: _get(tx, caller, name))


async def create_team(registry: Registry, caller: Caller, name: TeamName, description: str) -> TeamRow:
    """Make a team. Raises OrganisationUnknown, Denied, NameInvalid, RequestInvalid, AlreadyExists."""
    act = _administer(registry, caller, name)
    parse_label(name.team, "team")
    require_description(description)

    async def record(tx: Tx) -> TeamRow:
        organisation = await get_organisation_row(tx, caller, name.organisation)
        if not await teams.add_team(tx, organisation.id, name.team, description, act.now):
            raise AlreadyExists("there is a team of this name", team=str(name))
        await note(tx, act, Event("team.created", act.actor, str(name)))
        return await _get(tx, caller, name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def describe_team(registry: Registry, caller: Caller, name: TeamName, description: str) -> TeamRow:
    """Say something else of a team. Raises OrganisationUnknown, TeamUnknown, Denied, RequestInvalid."""
    act = _administer(registry, caller, name)
    require_description(description)

    async def record(tx: Tx) -> TeamRow:
        old = await _get(tx, caller, name)
        if old.description == description:
            return old
        await teams.set_description(tx, old.id, description)
        detail: dict[str, object] = {"description": [old.description, description]}
        await note(tx, act, Event("team.changed", act.actor, str(name), detail))
        return await _get(tx, caller, name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def remove_team(registry: Registry, caller: Caller, name: TeamName) -> None:
    """Forget a team with what was granted to it. Raises OrganisationUnknown, TeamUnknown, Denied."""
    act = _administer(registry, caller, name)

    async def record(tx: Tx) -> None:
        row = await _get(tx, caller, name)
        await teams.remove_team(tx, row.id)
        await note(tx, act, Event("team.removed", act.actor, str(name)))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def list_members(
    registry: Registry, caller: Caller, name: TeamName, page: Page
) -> tuple[list[TeamMemberRow], str | None]:
    """Who is in a team, by name. Raises OrganisationUnknown, TeamUnknown."""

    async def collect(tx: Tx) -> list[TeamMemberRow]:
        row = await _get(tx, caller, name)
        return await teams.list_members(tx, row.id, page.after, page.limit + 1)

    return cut(await registry.database.read(collect), page, lambda member: member.user)


async def put_member(registry: Registry, caller: Caller, name: TeamName, user: str, *, joins: bool) -> TeamMemberRow:
    """Let a member of the organisation into a team; with `joins`, also somebody who becomes one by that.

    Raises OrganisationUnknown, TeamUnknown, Denied, AccountUnknown, and Unmet for somebody else.
    """
    act = _administer(registry, caller, name)

    async def record(tx: Tx) -> TeamMemberRow:
        team = await _get(tx, caller, name)
        organisation = await get_organisation_row(tx, caller, name.organisation)
        account = await get_user(tx, user)
        known = await teams.find_member(tx, team.id, account.id)
        if known is not None:
            return known
        if await organisations.find_member(tx, organisation.id, account.id) is None:
            _require_joining(name, user, joins=joins)
            await admit(tx, act, organisation, (account, "member"))
        await teams.put_member(tx, team.id, account.id, act.now)
        await note(tx, act, Event("team.joined", act.actor, str(name), {"user": user}))
        return TeamMemberRow(user, "local", act.now)

    member = await registry.database.transact(record)
    await registry.policy.refresh()
    return member


async def remove_member(registry: Registry, caller: Caller, name: TeamName, user: str) -> None:
    """Let somebody go out of a team. Raises OrganisationUnknown, TeamUnknown, Denied, AccountUnknown."""
    act = _administer(registry, caller, name)

    async def record(tx: Tx) -> None:
        team = await _get(tx, caller, name)
        account = await get_user(tx, user)
        if not await teams.remove_member(tx, team.id, account.id):
            raise AccountUnknown("this user is not in the team", user=user)
        await note(tx, act, Event("team.left", act.actor, str(name), {"user": user}))

    await registry.database.transact(record)
    await registry.policy.refresh()


def _administer(registry: Registry, caller: Caller, name: TeamName) -> Act:
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, name.organisation)
    return act


def _require_joining(name: TeamName, user: str, *, joins: bool) -> None:
    if not joins:
        raise Unmet(
            f"{user} is not in the organisation {name.organisation}: add them there first, or with join (--join) here",
            field="join",
            user=user,
        )


async def _get(tx: Tx, caller: Caller, name: TeamName) -> TeamRow:
    organisation = await get_organisation_row(tx, caller, name.organisation)
    row = await teams.find_team(tx, organisation.id, name.team)
    if row is None:
        raise TeamUnknown("the organisation has no such team", team=str(name))
    return row

"""Groups of the directory that stand for teams: whoever is in one of them is a member of the team."""

from __future__ import annotations

from entrepot.core.decide import decide
from entrepot.core.listing import Page
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.directory import group_key, parse_group
from entrepot.domain.errors import AlreadyExists, Denied, InsufficientScope, NameUnknown
from entrepot.domain.events import Event
from entrepot.domain.names import parse_namespace_name
from entrepot.metadata import events, team_groups
from entrepot.metadata.team_groups import TeamGroupRow, TeamRow
from entrepot.ports.database import Tx


async def list_groups(
    registry: Registry, caller: Caller, team: str, page: Page
) -> tuple[list[TeamGroupRow], str | None]:
    """The groups of a team (`acme/devs`), and after which key the next page begins. Raises Denied, NameUnknown."""
    act = registry.act(caller)

    async def collect(tx: Tx) -> list[TeamGroupRow]:
        found = await _require_team(tx, act, team)
        return await team_groups.list_team_groups(tx, found.id, page.after, page.limit + 1)

    rows = await registry.database.read(collect)
    return rows[: page.limit], rows[page.limit - 1].key if len(rows) > page.limit else None


async def add_group(registry: Registry, caller: Caller, team: str, group: str) -> TeamGroupRow:
    """Let a group make members of a team, from their next login or the next check on.

    Raises Denied, InsufficientScope, NameUnknown, RequestInvalid, AlreadyExists.
    """
    act = registry.act(caller)
    name = parse_group(group)
    row = TeamGroupRow(group_key(name), name, act.actor, act.now)

    async def record(tx: Tx) -> None:
        found = await _require_team(tx, act, team)
        if not await team_groups.add_team_group(tx, found.id, row):
            raise AlreadyExists("this group makes members of the team already", team=team, group=name)
        await events.add_event(tx, Event("team-group.added", act.actor, team, {"group": name}), act.now, act.by)

    await registry.database.transact(record)
    return row


async def remove_group(registry: Registry, caller: Caller, team: str, group: str) -> None:
    """Let a group make no members of a team; those it has made leave with the next check.

    Raises Denied, InsufficientScope, RequestInvalid, and NameUnknown for a group that the team does not have.
    """
    act = registry.act(caller)
    name = parse_group(group)

    async def record(tx: Tx) -> None:
        found = await _require_team(tx, act, team)
        if not await team_groups.remove_team_group(tx, found.id, group_key(name)):
            raise NameUnknown("this group makes no members of the team", team=team, group=name)
        await events.add_event(tx, Event("team-group.removed", act.actor, team, {"group": name}), act.now, act.by)

    await registry.database.transact(record)


async def _require_team(tx: Tx, act: Act, team: str) -> TeamRow:
    organisation, _, name = team.partition("/")
    number = await team_groups.find_organisation(tx, parse_namespace_name(organisation))
    # Whoever may not hears the same, from the same work, whether there is such an organisation or not.
    _require_owner(act, number, organisation)
    found = await team_groups.find_team(tx, number or 0, name)
    if found is None:
        raise NameUnknown("there is no such team", team=team)
    return found


def _require_owner(act: Act, organisation: int | None, name: str) -> None:
    identity = act.caller.identity
    account = identity.account if identity is not None and act.snapshot.find_account(identity.account) else 0
    is_owner = organisation is not None and account in act.snapshot.owners.get(organisation, ())
    decision = decide(act.snapshot, identity, Action.ADMIN, "")
    if not is_owner and not decision.allowed:
        raise Denied(
            f"the teams of {name} are for its owners", reasons=[*decision.reasons, f"you are no owner of {name}"]
        )
    if not act.caller.is_admitted(Action.ADMIN, ""):
        raise InsufficientScope("a token does not do this; send the user name and password")

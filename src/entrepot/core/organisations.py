"""Organisations: people who own namespaces together; made, described, given up, and who is in them."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.accounts import get_row, require_admin, require_free
from entrepot.core.changes import account_of, note, require_admitted, require_description
from entrepot.core.decide import decide, is_elsewhere, require
from entrepot.core.listing import Page, cut
from entrepot.core.namespaces import NamespaceState, get_owner, put_owner
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import (
    AccountUnknown,
    AlreadyExists,
    Conflict,
    Denied,
    OrganisationUnknown,
    RequestInvalid,
    Unmet,
)
from entrepot.domain.events import Event
from entrepot.domain.names import require_free_name
from entrepot.domain.policy import Membership
from entrepot.metadata import accounts, invitations, namespaces, organisations, teams
from entrepot.metadata.accounts import AccountRow, Faceless
from entrepot.metadata.organisations import MemberRow, OrganisationRow
from entrepot.ports.database import Tx

MOST_SHOWN: Final = 1000


class NewOrganisation(msgspec.Struct, frozen=True):
    """An organisation to be made; `owner` is its first owner, whoever makes it if None."""

    name: str
    description: str = ""
    owner: str | None = None


class Belonging(msgspec.Struct, frozen=True):
    """What somebody belongs to: names of organisations with the role there, and teams as `organisation/team`."""

    organisations: list[tuple[str, Membership]]
    teams: list[str]


def unknown_organisation(name: str) -> OrganisationUnknown:
    """The same words whether an organisation is not there or not for this caller."""
    return OrganisationUnknown("there is no organisation of this name that you belong to", organisation=name)


async def list_organisations(
    registry: Registry, caller: Caller, page: Page
) -> tuple[list[OrganisationRow], str | None]:
    """Those of the caller, for administrators all, by name. Raises InsufficientScope."""
    require_admitted(caller, Action.ORGANISATION_READ, "")
    is_admin = decide(registry.policy.snapshot, caller.identity, Action.ADMIN, "").allowed
    find = organisations.list_organisations if is_admin else organisations.list_organisations_of
    account = account_of(caller)
    rows = await registry.database.read(lambda tx: find(tx, account, page.after, page.limit + 1))
    return cut(rows, page, lambda row: row.name)


async def get_organisation(registry: Registry, caller: Caller, name: str) -> OrganisationRow:
    """One organisation. Raises OrganisationUnknown."""
    return await registry.database.read(lambda tx: get_organisation_row(tx, caller, name))


async def get_organisation_row(tx: Tx, caller: Caller, name: str) -> OrganisationRow:
    """The row of an organisation. Raises OrganisationUnknown."""
    row = await organisations.find_organisation(tx, name, account_of(caller))
    if row is None:
        raise unknown_organisation(name)
    return row


async def find_belonging(registry: Registry, caller: Caller) -> Belonging | None:
    """What the caller belongs to, or None where a token does not say."""
    account = account_of(caller)
    if not caller.is_admitted(Action.ORGANISATION_READ, ""):
        return None

    async def collect(tx: Tx) -> Belonging:
        rows = await organisations.list_organisations_of(tx, account, "", MOST_SHOWN)
        roles = [(row.name, row.role or "member") for row in rows]
        return Belonging(roles, await teams.list_teams_of(tx, account, MOST_SHOWN))

    return await registry.database.read(collect)


async def create_organisation(registry: Registry, caller: Caller, new: NewOrganisation) -> OrganisationRow:
    """Make an organisation with its namespace and its first owner.

    Raises Denied, InsufficientScope, NameInvalid, RequestInvalid, Unmet, AlreadyExists.
    """
    act = registry.act(caller)
    is_admin = _require_may_create(act, new)
    require_free_name(new.name)
    require_description(new.description)

    async def record(tx: Tx) -> OrganisationRow:
        owner = await _first_owner(tx, caller, new)
        await require_free(tx, new.name)
        number = await accounts.add_faceless(tx, Faceless(new.name, "organisation", None, new.description), act.now)
        await organisations.put_member(tx, number, owner.id, "owner", act.now)
        await _take_namespace(tx, act, new.name, is_admin=is_admin)
        await note(tx, act, Event("organisation.created", act.actor, new.name, {"owner": owner.name}))
        return await get_organisation_row(tx, caller, new.name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def describe_organisation(registry: Registry, caller: Caller, name: str, description: str) -> OrganisationRow:
    """Say something else of an organisation. Raises OrganisationUnknown, Denied, RequestInvalid."""
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, name)
    require_description(description)

    async def record(tx: Tx) -> OrganisationRow:
        old = await get_organisation_row(tx, caller, name)
        if old.description == description:
            return old
        await organisations.set_description(tx, old.id, description)
        detail: dict[str, object] = {"description": [old.description, description]}
        await note(tx, act, Event("organisation.changed", act.actor, name, detail))
        return await get_organisation_row(tx, caller, name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def remove_organisation(registry: Registry, caller: Caller, name: str, heir: str) -> list[str]:
    """Give an organisation up with its teams and their grants; which namespaces went to the heir.

    Raises OrganisationUnknown, Denied, Unmet, and Conflict where it owns namespaces and there is no heir, or one that
    does not answer where the request came in.
    """
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, name)

    async def record(tx: Tx) -> list[str]:
        row = await get_organisation_row(tx, caller, name)
        owned = await namespaces.list_owned(tx, row.id)
        _require_here(act, name, owned)
        if owned:
            await _give_all(tx, act, owned, await _get_heir(tx, act, name, heir, owned))
        await organisations.remove_organisation(tx, row.id)
        detail: dict[str, object] = {"namespaces": owned, "given_to": heir if owned else None}
        await note(tx, act, Event("organisation.removed", act.actor, name, detail))
        return owned

    given = await registry.database.transact(record)
    await registry.policy.refresh()
    return given


async def list_members(registry: Registry, caller: Caller, name: str, page: Page) -> tuple[list[MemberRow], str | None]:
    """Who is in an organisation, by name. Raises OrganisationUnknown."""

    async def collect(tx: Tx) -> list[MemberRow]:
        row = await get_organisation_row(tx, caller, name)
        return await organisations.list_members(tx, row.id, page.after, page.limit + 1)

    return cut(await registry.database.read(collect), page, lambda member: member.user)


async def put_member(registry: Registry, caller: Caller, name: str, user: str, role: Membership) -> MemberRow:
    """Let a user in, or make them something else.

    Raises OrganisationUnknown, Denied, AccountUnknown, and Conflict where nobody would own it any more.
    """
    act = registry.act(caller)
    require(caller, act.snapshot, Action.ORGANISATION_ADMIN, name)

    async def record(tx: Tx) -> MemberRow:
        row = await get_organisation_row(tx, caller, name)
        account = await get_user(tx, user)
        old = await organisations.find_member(tx, row.id, account.id)
        if old is not None and old.role == role:
            return old
        if old is not None and old.role == "owner":
            await _require_other_owner(tx, row, account)
        return await admit(tx, act, row, (account, role))

    member = await registry.database.transact(record)
    await registry.policy.refresh()
    return member


async def remove_member(registry: Registry, caller: Caller, name: str, user: str) -> None:
    """Let a member go, out of its teams too; whoever leaves does it themselves.

    Raises OrganisationUnknown, Denied, AccountUnknown, and Conflict for the last owner.
    """
    act = registry.act(caller)
    is_leaving = caller.identity is not None and caller.identity.name == user
    require(caller, act.snapshot, Action.ORGANISATION_READ if is_leaving else Action.ORGANISATION_ADMIN, name)

    async def record(tx: Tx) -> None:
        row = await get_organisation_row(tx, caller, name)
        account = await get_user(tx, user)
        member = await organisations.find_member(tx, row.id, account.id)
        if member is None:
            raise AccountUnknown("this user is not in the organisation", user=user)
        if member.role == "owner":
            await _require_other_owner(tx, row, account)
        await organisations.remove_member(tx, row.id, account.id)
        await note(tx, act, Event("organisation.left", act.actor, name, {"user": user}))

    await registry.database.transact(record)
    await registry.policy.refresh()


async def admit(tx: Tx, act: Act, organisation: OrganisationRow, new: tuple[AccountRow, Membership]) -> MemberRow:
    """Write down what somebody is in an organisation from now on, and tell."""
    account, role = new
    old = await organisations.find_member(tx, organisation.id, account.id)
    await organisations.put_member(tx, organisation.id, account.id, role, act.now)
    await invitations.remove_invitation(tx, organisation.id, account.id)
    detail: dict[str, object] = {"user": account.name, "role": role}
    event = Event("organisation.role" if old else "organisation.joined", act.actor, organisation.name, detail)
    await note(tx, act, event)
    return MemberRow(account.name, role, "local", old.added_at if old else act.now)


async def get_user(tx: Tx, name: str) -> AccountRow:
    """The row of a user, who alone can be in an organisation. Raises AccountUnknown."""
    row = await get_row(tx, name)
    if row.kind != "user":
        raise AccountUnknown("there is no such user", user=name)
    return row


def _require_may_create(act: Act, new: NewOrganisation) -> bool:
    caller = act.caller
    is_admin = decide(act.snapshot, caller.identity, Action.ADMIN, "").allowed
    if not is_admin and not act.rules.create_organisations:
        require_admin(caller, act.snapshot)
    require_admitted(caller, Action.ORGANISATION_ADMIN, new.name)
    is_own = new.owner is None or (caller.identity is not None and new.owner == caller.identity.name)
    if not is_admin and not is_own:
        raise Denied("only instance administrators make an organisation for somebody else", field="owner")
    return is_admin


async def _first_owner(tx: Tx, caller: Caller, new: NewOrganisation) -> AccountRow:
    name = new.owner or (caller.identity.name if caller.identity else "")
    owner = await accounts.find_account(tx, name)
    if owner is None or owner.kind != "user":
        raise Unmet("there is no such user to own it: name one as its owner", field="owner", user=name)
    return owner


async def _take_namespace(tx: Tx, act: Act, name: str, *, is_admin: bool) -> None:
    owner = await accounts.find_account(tx, name)
    if await namespaces.add_namespace(tx, name, owner.id if owner else None, "private", act.now):
        return
    # What a namespace without an owner holds is not for whoever happens to take its name.
    old = await namespaces.find_namespace(tx, name)
    if not is_admin or old is None or is_elsewhere(act.snapshot, name, act.caller.origin):
        raise AlreadyExists("there is a namespace of this name", namespace=name)
    await put_owner(tx, act, old, NamespaceState(owner, old.visibility))


def _require_here(act: Act, name: str, owned: list[str]) -> None:
    if any(is_elsewhere(act.snapshot, each, act.caller.origin) for each in owned):
        raise Conflict("it owns what does not answer here; come by another listener", organisation=name)


async def _get_heir(tx: Tx, act: Act, name: str, heir: str, owned: list[str]) -> AccountRow:
    if not heir:
        raise Conflict(
            f"it owns {', '.join(owned)}: say who gets them, with: entrepot organisation remove {name} --give-to USER",
            organisation=name,
            namespaces=owned,
        )
    account = await get_owner(tx, act, heir, "give_to")
    if account.name == name:
        raise RequestInvalid("what it owns cannot be given to itself", field="give_to")
    return account


async def _give_all(tx: Tx, act: Act, owned: list[str], heir: AccountRow) -> None:
    for row in await namespaces.list_named_namespaces(tx, owned):
        await put_owner(tx, act, row, NamespaceState(heir, row.visibility))


async def _require_other_owner(tx: Tx, organisation: OrganisationRow, account: AccountRow) -> None:
    if not await organisations.has_other_owner(tx, organisation.id, account.id):
        raise Conflict(
            "this is the last owner of the organisation; make somebody else one first",
            user=account.name,
            organisation=organisation.name,
        )

"""Grants: given, listed and taken away; nobody gives what they do not have themselves."""

from __future__ import annotations

import re
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from entrepot.core.decide import decide, governs, require
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import LOCAL, Action, Caller
from entrepot.domain.errors import (
    AlreadyExists,
    Denied,
    InsufficientScope,
    NameInvalid,
    RequestInvalid,
    Unknown,
    Unmet,
)
from entrepot.domain.events import Event
from entrepot.domain.grants import GRANTABLE, OF_TAGS, ROLES, Conditions, Effect, Subject
from entrepot.domain.names import parse_namespace_name, parse_repository_name
from entrepot.domain.networks import require_network
from entrepot.domain.patterns import RESOURCE_PATTERN, TAG_PATTERN, is_pattern, literal_prefix, require_pattern
from entrepot.domain.subjects import SubjectName, parse_subject, subject_of
from entrepot.metadata import events, grants, policy
from entrepot.metadata.accounts import find_account
from entrepot.metadata.grants import GrantRow, NewGrantRow
from entrepot.metadata.roles import find_role, list_roles
from entrepot.metadata.teams import find_team_id
from entrepot.ports.database import Tx

CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
LONGEST_ID: Final = 16
LONGEST_CONDITIONS: Final = 2000
EVERYTHING: Final = ("", "\x7f")
MOST_ROLES: Final = 100
MISSING: Final = {
    "user": "there is no such user; `entrepot user add` makes one, and those of a directory or a provider are there "
    "once they have logged in",
    "service": "there is no such service; `entrepot service-account list` lists those that are there, and "
    "`entrepot service-account create` makes one",
    "team": "there is no such team; `entrepot team list ORGANISATION` lists those that are there, and "
    "`entrepot team create` makes one",
}


class NewGrant(msgspec.Struct, frozen=True):
    """A grant to be given: a role or actions, to a subject, on a resource or a pattern ("" is the registry)."""

    subject: str
    resource: str
    role: str = ""
    actions: tuple[str, ...] = ()
    effect: Effect = "allow"
    tags: str = ""
    conditions: Conditions | None = None


async def list_grants(
    registry: Registry, caller: Caller, resource: str, page: tuple[int, int], subject: str = ""
) -> tuple[list[GrantRow], int | None]:
    """Grants on a resource and below it, a page (after an id, limit), and after which id the next one begins.

    Without a resource, all of the registry, for administrators; with a subject, only those for it alone.
    Raises RequestInvalid, Unmet, Denied, InsufficientScope.
    """
    after, limit = page
    require_authority(registry.act(caller), resource)
    span = (resource, f"{resource}0") if resource else EVERYTHING
    name = parse_subject(subject) if subject else None

    async def look(tx: Tx) -> list[GrantRow]:
        if name is None:
            return await grants.list_grants(tx, span, after, limit + 1)
        return await grants.list_grants_of(tx, await resolve(tx, name), span, after, limit + 1)

    rows = await registry.database.read(look)
    found = [
        row for row in rows[:limit] if not resource or row.resource == resource or _is_below(resource, row.resource)
    ]
    return found, rows[limit - 1].id if len(rows) > limit else None


async def get_grant(registry: Registry, caller: Caller, number: int) -> GrantRow:
    """One grant, for whoever could take it away. Raises Unknown."""
    row = await registry.database.read(lambda tx: grants.find_grant(tx, number))
    if row is None or not _has_authority(registry.act(caller), row.resource):
        raise _unknown(number)
    return row


async def add_grant(registry: Registry, caller: Caller, new: NewGrant) -> GrantRow:
    """Give a grant. Raises RequestInvalid, Unmet, AlreadyExists, Denied, InsufficientScope."""
    act = registry.act(caller)
    require_sense(new)
    require_authority(act, new.resource)
    made = await registry.database.transact(lambda tx: record_grant(tx, act, new))
    await registry.policy.refresh()
    return made


async def record_grant(tx: Tx, act: Act, new: NewGrant) -> GrantRow:
    """Store a grant that makes sense. Raises Unmet, AlreadyExists, Denied."""
    return await store_grant(tx, act, new, await judge_grant(tx, act, new))


async def judge_grant(tx: Tx, act: Act, new: NewGrant) -> Subject:
    """Whom a grant that makes sense is for, if the caller may give it. Raises Unmet for what is not there, Denied."""
    subject = await resolve(tx, require_sense(new))
    actions = await actions_of(tx, new)
    if new.conditions is not None:
        require_listeners(act, new.conditions.listeners, "conditions.listeners")
    if new.effect == "allow":
        require_own(act, new.resource, actions)
    return subject


async def store_grant(tx: Tx, act: Act, new: NewGrant, subject: Subject) -> GrantRow:
    """Store a grant that was judged. Raises AlreadyExists."""
    row = NewGrantRow(subject, new.resource, new.role, new.actions, new.effect, new.tags, new.conditions)
    number = await grants.add_grant(tx, row, act.actor, act.now)
    if number is None:
        raise AlreadyExists("there is exactly this grant already", subject=new.subject, resource=new.resource)
    made = await grants.find_grant(tx, number)
    assert made is not None, "a grant that was just stored"
    await note(tx, act, "grant.given", made)
    return made


async def remove_grant(registry: Registry, caller: Caller, number: int) -> None:
    """Take a grant away. Raises Unknown."""
    act = registry.act(caller)

    async def record(tx: Tx) -> None:
        row = await grants.find_grant(tx, number)
        if row is None or not _has_authority(act, row.resource):
            raise _unknown(number)
        await grants.remove_grant(tx, number)
        await note(tx, act, "grant.taken", row)

    await registry.database.transact(record)
    await registry.policy.refresh()


def require_sense(new: NewGrant) -> SubjectName:
    """The subject of a grant whose parts all make sense. Raises RequestInvalid with the path of the field."""
    subject = parse_subject(new.subject)
    if bool(new.role) == bool(new.actions):
        raise RequestInvalid("a grant gives either a role or a list of actions", field="role")
    for position, word in enumerate(new.actions):
        if word not in GRANTABLE:
            allowed = ", ".join(sorted(GRANTABLE))
            raise RequestInvalid(
                f"there is no such action; there are: {allowed}", field=f"actions[{position}]", got=word
            )
    _require_resource(new.resource)
    if new.tags:
        _require_tags(new)
    if new.conditions is not None:
        _require_conditions(new.conditions)
    return subject


async def resolve(tx: Tx, subject: SubjectName) -> Subject:
    """The row that a subject names. Raises Unmet."""
    if subject.word in {"everyone", "signed-in"}:
        return ("everyone" if subject.word == "everyone" else "signed-in", 0)
    if subject.word == "team":
        organisation, _, name = subject.name.partition("/")
        team = await find_team_id(tx, organisation, name)
        if team is None:
            raise Unmet(MISSING[subject.word], field="subject", team=subject.name)
        return ("team", team)
    account = await find_account(tx, subject.name)
    if account is None or account.kind != subject.word:
        raise Unmet(MISSING[subject.word], field="subject", name=subject.name)
    return ("account", account.id)


async def actions_of(tx: Tx, new: NewGrant) -> frozenset[Action]:
    """What a grant is about. Raises Unmet for a role that is not there."""
    if new.actions:
        return frozenset(Action(word) for word in new.actions)
    if new.role in ROLES:
        return ROLES[new.role]
    row = await find_role(tx, new.role)
    if row is None:
        known = [*ROLES, *(each.name for each in await list_roles(tx, "", MOST_ROLES))]
        raise Unmet("there is no such role", field="role", role=new.role, known=known)
    return row.actions


def parse_id(text: str) -> int:
    """The number of a grant in a path. Raises Unknown."""
    if not (text.isascii() and text.isdigit() and len(text) < LONGEST_ID):
        raise Unknown("there is no such grant", grant=text[:LONGEST_ID])
    return int(text)


def subject_text(row: GrantRow) -> str:
    """Who a stored grant is for, as people write it."""
    return str(subject_of(row.kind, row.name, row.account_kind))


def _require_resource(resource: str) -> None:
    if not resource:
        return
    if is_pattern(resource):
        require_pattern(resource, RESOURCE_PATTERN, "resource")
        return
    try:
        (parse_repository_name if "/" in resource else parse_namespace_name)(resource)
    except NameInvalid as error:
        error.detail["field"] = "resource"
        raise


def _require_tags(new: NewGrant) -> None:
    require_pattern(new.tags, TAG_PATTERN, "tags")
    about_tags = {action.value for action in OF_TAGS} | {"pull"}
    if new.actions and not about_tags & set(new.actions):
        raise RequestInvalid(
            f"a grant for certain tags is about one of {', '.join(sorted(about_tags))}",
            field="actions",
            got=new.actions,
        )


def _require_conditions(conditions: Conditions) -> None:
    for field in ("networks", "not_networks"):
        for position, network in enumerate(getattr(conditions, field)):
            require_network(network, f"conditions.{field}[{position}]")
    for name in ("not_before", "not_after"):
        moment = getattr(conditions, name)
        if moment is not None and moment.tzinfo is None:
            raise RequestInvalid("a time needs its zone, such as 2026-12-01T00:00:00Z", field=f"conditions.{name}")
    if len(msgspec.json.encode(conditions)) > LONGEST_CONDITIONS:
        # A grant is one of its kind by an index, which takes no more.
        message = f"the conditions of a grant are {LONGEST_CONDITIONS} bytes of JSON at most: make several grants of it"
        raise RequestInvalid(message, field="conditions")
    hours = conditions.hours
    if hours is None:
        return
    for name in ("start", "end"):
        if not CLOCK.fullmatch(getattr(hours, name)):
            raise RequestInvalid("a time of day is HH:MM, from 00:00 to 23:59", field=f"conditions.hours.{name}")
    try:
        ZoneInfo(hours.zone)
    except (OSError, ValueError, KeyError):
        message = "there is no such time zone; the IANA names are meant, such as Europe/Berlin"
        raise RequestInvalid(message, field="conditions.hours.zone", got=hours.zone[:64]) from None


def _authority(resource: str) -> tuple[Action, str]:
    """The action that giving grants on a resource needs, and where."""
    namespace, slash, _ = literal_prefix(resource).partition("/")
    if not resource or (is_pattern(resource) and not slash):
        return Action.ADMIN, ""
    if slash and not is_pattern(resource):
        return Action.REPOSITORY_ADMIN, resource
    return Action.NAMESPACE_ADMIN, namespace


def _has_authority(act: Act, resource: str) -> bool:
    action, where = _authority(resource)
    caller = act.caller
    allowed = decide(act.snapshot, caller.identity, action, where, caller.origin).allowed
    return allowed and caller.is_admitted(action, where)


def require_authority(act: Act, resource: str) -> None:
    """Raises Denied or InsufficientScope unless the caller may give grants on a resource."""
    action, where = _authority(resource)
    require(act.caller, act.snapshot, action, where)
    if not act.caller.is_admitted(action, where):
        raise InsufficientScope("the token does not cover this; send the user name and password, or a wider token")


def require_own(act: Act, resource: str, actions: frozenset[Action]) -> None:
    """Raises Denied unless the caller has all these actions there."""
    # Else whoever may give roles on a repository would have all of them. Who owns the place has them, denied or not.
    where = resource if not is_pattern(resource) else literal_prefix(resource).partition("/")[0]
    if governs(act.caller, act.snapshot, where.partition("/")[0]):
        return
    missing = sorted(
        action
        for action in actions
        if not decide(act.snapshot, act.caller.identity, action, where, act.caller.origin).allowed
    )
    if missing:
        raise Denied(
            "nobody can give what they do not have", reasons=[f"you may not {action} here" for action in missing]
        )


def require_listeners(act: Act, listeners: tuple[str, ...], field: str) -> None:
    """Raises Unmet for a listener that the settings do not have: nobody comes by it, not even to take this back.

    The command line on the files itself may name any; it need not have the servers' settings.
    """
    known = act.rules.listeners
    for position, name in enumerate(listeners):
        if name not in known and act.caller.origin.listener != LOCAL:
            raise Unmet(
                f"there is no such listener; there are: {', '.join(sorted(known))}",
                field=f"{field}[{position}]",
                got=name,
            )


def _is_below(outer: str, inner: str) -> bool:
    return inner.startswith(f"{outer}/")


def _unknown(number: int) -> Unknown:
    return Unknown("there is no such grant", grant=number)


async def note(tx: Tx, act: Act, kind: Literal["grant.given", "grant.taken"], row: GrantRow) -> None:
    """Write down that a grant was given or taken, and that the policy is another one."""
    await policy.bump_policy_version(tx)
    detail: dict[str, object] = {"grant": row.id, "subject": subject_text(row), "effect": row.effect}
    detail |= {"role": row.role} if row.role else {"actions": list(row.actions)}
    detail |= {"tags": row.tags} if row.tags else {}
    if row.conditions is not None:
        detail["conditions"] = msgspec.to_builtins(row.conditions)
    await events.add_event(tx, Event(kind, act.actor, row.resource, detail), act.now, act.by)

"""Questions about the policy: may they, who may, and what a grant would change before it is given."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.decide import allowing, decide, is_open, require, told_reasons
from entrepot.core.grants import NewGrant, actions_of, require_sense, resolve
from entrepot.core.registry import Registry
from entrepot.domain.access import Action, Caller, Decision, Identity, Origin
from entrepot.domain.errors import AccountUnknown, InsufficientScope, RequestInvalid
from entrepot.domain.grants import GRANTABLE, Grant, Subject
from entrepot.domain.names import RepositoryName
from entrepot.domain.patterns import is_pattern, literal_prefix
from entrepot.domain.places import parse_spot
from entrepot.domain.policy import PolicySnapshot
from entrepot.domain.subjects import ROBOT
from entrepot.metadata.repositories import find_repository_id
from entrepot.ports.database import Tx

PUBLIC: Final = "public"
ADMINISTRATOR: Final = "instance administrator"
OWN_NAME: Final = "their own name"


class Question(msgspec.Struct, frozen=True):
    """Whether `who` (None: nobody who is signed in) may do this to that, coming from `origin`."""

    who: str | None
    action: Action
    resource: str
    origin: Origin


class Answer(msgspec.Struct, frozen=True):
    """The verdict, with the reasons against it, or with what allows it."""

    allowed: bool
    reasons: tuple[str, ...]


async def check(
    registry: Registry, caller: Caller, question: Question, suppose: NewGrant | None = None
) -> tuple[Answer, Answer]:
    """The answer now, and the one if a grant were given (the same without one).

    About oneself, by the same listener, anybody may ask; else whoever administers the resource.

    Raises RequestInvalid, Denied, AccountUnknown.
    """
    parse_spot(question.resource)
    await registry.policy.refresh()
    snapshot = registry.policy.snapshot
    name = _full_name(snapshot, question.who)
    is_here = question.origin.listener == caller.origin.listener
    if is_here and caller.identity is not None and name == caller.identity.name and suppose is None:
        own = await _answer_own(registry, caller, question)
        return own, own
    require_administration(registry, caller, question.resource)
    identity = _identity(snapshot, name)
    now = answer(snapshot, identity, question)
    if suppose is None:
        return now, now
    return now, answer(await _supposing(registry, snapshot, suppose), identity, question)


async def _answer_own(registry: Registry, caller: Caller, question: Question) -> Answer:
    """What somebody may hear about themselves: as little about what is hidden as a request would tell."""
    snapshot, resource = registry.policy.snapshot, question.resource
    found = answer(snapshot, caller.identity, question)
    name, is_known = resource.partition(":")[0], True
    if "/" in name and is_open(snapshot, name.partition("/")[0], question.origin):
        is_known = await registry.database.read(lambda tx: find_repository_id(tx, RepositoryName(name))) is not None
    # What is not there may be pulled by the default of an open namespace, what is hidden may not: both are a no.
    if found.allowed and (is_known or found.reasons != (PUBLIC,)):
        return found
    return Answer(allowed=False, reasons=told_reasons(caller, snapshot, question.action, resource))


def parse_action(text: str) -> Action:
    """An action by its word. Raises RequestInvalid with the words there are."""
    known = {action.value: action for action in (*sorted(GRANTABLE), Action.ADMIN)}
    if text not in known:
        raise RequestInvalid(f"there is no such action; there are: {', '.join(known)}", field="action", got=text[:64])
    return known[text]


def answer(snapshot: PolicySnapshot, identity: Identity | None, question: Question) -> Answer:
    """The verdict with its reasons either way."""
    decision: Decision = decide(snapshot, identity, question.action, question.resource, question.origin)
    if decision.allowed:
        return Answer(allowed=True, reasons=grounds(snapshot, identity, question))
    return Answer(allowed=False, reasons=decision.reasons)


def grounds(snapshot: PolicySnapshot, identity: Identity | None, question: Question) -> tuple[str, ...]:
    """Everything that allows an action: the office, ownership, visibility, and the grants that hold for it."""
    action, name = question.action, question.resource.partition(":")[0]
    namespace = name.partition("/")[0]
    account = snapshot.find_account(identity.account) if identity else None
    policy = snapshot.namespaces.get(namespace)
    found = []
    if account is not None and account.is_admin:
        found.append(ADMINISTRATOR)
    if identity is not None and account is not None and policy is not None and snapshot.owns(identity.account, policy):
        found.append(f"owner of {namespace}")
    if account is not None and policy is None and namespace == account.name:
        found.append(OWN_NAME)
    if identity is not None and account is not None and action is Action.NAMESPACE_CREATE:
        found += [patronage(patron) for patron in snapshot.patrons(identity.account, namespace)]
    is_public = policy is not None and snapshot.repositories.get(name, policy.visibility) == "public"
    if action is Action.PULL and is_public and "/" in name:
        found.append(PUBLIC)
    grants = allowing(snapshot, identity, action, question.resource, question.origin)
    return tuple(dict.fromkeys((*found, *(describe_grant(grant) for grant in grants))))


def describe_grant(grant: Grant) -> str:
    """An allowing grant in words: what it gives where, to whom of many, and what narrows it."""
    through = {"team": " of a team", "everyone": " for everyone", "signed-in": " for all who are signed in"}
    where = f"{grant.title} on {grant.resource or 'the registry'}"
    return f"{where}{through.get(grant.subject[0], '')}{limits_of(grant)} (grant {grant.id})"


def limits_of(grant: Grant) -> str:
    """The tags and conditions of a grant in words, to be written after its resource."""
    tags = f" for tags like {grant.tags}" if grant.tags else ""
    return tags + "".join(f", {term}" for term in (grant.conditions.terms().values() if grant.conditions else ()))


def patronage(organisation: str) -> str:
    """What lets an owner of an organisation make namespaces."""
    return f"owner of the organisation {organisation}"


async def _supposing(registry: Registry, snapshot: PolicySnapshot, new: NewGrant) -> PolicySnapshot:
    subject_name = require_sense(new)

    async def look(tx: Tx) -> tuple[Subject, frozenset[Action]]:
        return await resolve(tx, subject_name), await actions_of(tx, new)

    subject, actions = await registry.database.read(look)
    grant = Grant(
        0,
        subject,
        actions,
        new.resource,
        new.role or ", ".join(new.actions),
        new.effect == "deny",
        new.tags,
        new.conditions,
    )
    grants = {**snapshot.grants, subject: [*snapshot.grants.get(subject, ()), grant]}
    return msgspec.structs.replace(snapshot, grants=grants, compiled={})


def _full_name(snapshot: PolicySnapshot, who: str | None) -> str | None:
    if who is None or any(account.name == who for account in snapshot.accounts.values()):
        return who
    return f"{ROBOT}{who.removeprefix(ROBOT)}"


def _identity(snapshot: PolicySnapshot, name: str | None) -> Identity | None:
    if name is None:
        return None
    for number, account in snapshot.accounts.items():
        if account.name == name:
            return Identity(number, name)
    raise AccountUnknown("there is no such user or service account", user=name.removeprefix(ROBOT))


def require_administration(registry: Registry, caller: Caller, resource: str) -> None:
    """Raises Denied or InsufficientScope unless the caller owns the namespace that all of a place is in."""
    name = resource.partition(":")[0]
    namespace, slash, _ = literal_prefix(name).partition("/")
    if is_pattern(name) and not slash:
        namespace = ""
    action = Action.NAMESPACE_ADMIN if namespace else Action.ADMIN
    require(caller, registry.policy.snapshot, action, namespace)
    if not caller.is_admitted(action, namespace):
        raise InsufficientScope("the token does not cover this; send the user name and password, or a wider token")

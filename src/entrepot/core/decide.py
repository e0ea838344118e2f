"""The one decision: may this identity do this to that? Pure and synchronous, with reasons."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.domain.access import ALLOWED, LOCAL, UNKNOWN, Action, Caller, Decision, Identity, Origin, refuse
from entrepot.domain.errors import Denied
from entrepot.domain.grants import ROLES, UNDENIABLE, Grant
from entrepot.domain.patterns import literal_prefix, matches
from entrepot.domain.policy import AccountPolicy, PolicySnapshot

# What a grant for certain tags gives although no tag is named: the parts of a push and of a pull come without one.
TAGLESS: Final = frozenset({Action.PULL, Action.SCAN_READ, Action.PUSH, Action.REPOSITORY_CREATE})
# What makes a namespace that is not there.
MAKING: Final = frozenset({Action.PUSH, Action.REPOSITORY_CREATE})
# Judged by what somebody is in the organisation of that name; no grant gives or denies them.
OF_ORGANISATIONS: Final = frozenset({Action.ORGANISATION_READ, Action.ORGANISATION_ADMIN})


class _Question(msgspec.Struct, frozen=True):
    """An action on a repository or namespace, perhaps on one of its tags, by somebody."""

    action: Action
    name: str
    namespace: str
    tag: str
    origin: Origin
    identity: Identity | None
    account: AccountPolicy | None


def decide(
    snapshot: PolicySnapshot, identity: Identity | None, action: Action, resource: str, origin: Origin = UNKNOWN
) -> Decision:
    """Judge one action on a tag (`acme/app:v1`), a repository (`acme/app`), a namespace (`acme`) or "", the registry.

    What begins with `organisation.` is about the organisation of that name.

    Where a namespace answers on certain listeners only, nobody may do anything to it by another one.

    Of an unknown origin, no condition of an allowing grant holds and every one of a denying grant does.
    """
    name, _, tag = resource.partition(":")
    if snapshot.elsewhere and action not in OF_ORGANISATIONS and is_elsewhere(snapshot, name, origin):
        return _refuse_elsewhere(snapshot, name.partition("/")[0], origin)
    rights = snapshot.rights_of(identity)
    verdict = rights.verdicts.get((action, name))
    if verdict is not None:
        return verdict
    namespace = name.partition("/")[0]
    if namespace in snapshot.namespaces and rights.plainly_allows(action, namespace, name):
        return ALLOWED
    account = snapshot.find_account(identity.account) if identity else None
    question = _Question(action, name, namespace, tag, origin, identity, account)
    grants = [grant for grant in rights.applicable(namespace, name) if action in grant.actions]
    decision = _judge(snapshot, question, grants)
    if not any(grant.tags or grant.conditions for grant in grants):
        rights.keep(action, name, decision)
    return decision


def allowing(
    snapshot: PolicySnapshot, identity: Identity | None, action: Action, resource: str, origin: Origin
) -> list[Grant]:
    """The grants that allow an action on this tag, from there and then. Denials are not looked at."""
    name, _, tag = resource.partition(":")
    namespace = name.partition("/")[0]
    question = _Question(action, name, namespace, tag, origin, identity, None)
    if _makes_namespace(snapshot, question):
        return []
    held = snapshot.rights_of(identity).applicable(namespace, name)
    found = [grant for grant in held if action in grant.actions and not grant.is_deny]
    return [grant for grant in found if not _hinders(grant, question)]


def may(caller: Caller, snapshot: PolicySnapshot, action: Action, resource: str) -> bool:
    """Whether both the caller's token and the policy of this moment allow it."""
    is_admitted = caller.is_admitted(action, resource.partition(":")[0])
    return is_admitted and decide(snapshot, caller.identity, action, resource, caller.origin).allowed


def require(caller: Caller, snapshot: PolicySnapshot, action: Action, resource: str) -> None:
    """Raise Denied with the reasons unless the policy allows it; tokens are judged at the door."""
    if not decide(snapshot, caller.identity, action, resource, caller.origin).allowed:
        raise refusal(caller, snapshot, action, resource)


def refusal(caller: Caller, snapshot: PolicySnapshot, action: Action, resource: str) -> Denied:
    """The error for an action that is not allowed, with the reasons that the caller may hear."""
    what = f"{action.value} on {resource}" if resource else action.value
    reasons = list(told_reasons(caller, snapshot, action, resource))
    return Denied(f"{what} is refused: {'; '.join(reasons)}", action=action.value, resource=resource, reasons=reasons)


def told_reasons(caller: Caller, snapshot: PolicySnapshot, action: Action, resource: str) -> tuple[str, ...]:
    """Why an action is not allowed, as far as the caller may hear it.

    To strangers the words are the same whether there is such a place or not: a denial, a condition or a missing
    namespace in them would tell.
    """
    name = resource.partition(":")[0]
    if action is Action.NAMESPACE_CREATE and is_elsewhere(snapshot, name, caller.origin):
        return _refuse_new_namespace(snapshot, _Question(action, name, name, "", caller.origin, None, None)).reasons
    is_place = bool(name) and action not in OF_ORGANISATIONS and action is not Action.NAMESPACE_CREATE
    if is_place and not knows(caller, snapshot, name):
        who = caller.identity.name if caller.identity else "anonymous"
        return _needs(action, name), f"{who} has no role there"
    return decide(snapshot, caller.identity, action, resource, caller.origin).reasons


def knows(caller: Caller, snapshot: PolicySnapshot, resource: str) -> bool:
    """Whether a caller may know of a place: they administer or own it, or read it by more than everybody's default."""
    name = resource.partition(":")[0]
    namespace = name.partition("/")[0]
    if is_elsewhere(snapshot, name, caller.origin):
        return False
    if governs(caller, snapshot, namespace):
        return True
    # Where everybody reads by default, who may read a repository tells that it is there and not hidden.
    known = namespace if is_open(snapshot, namespace, caller.origin) else name
    return decide(snapshot, caller.identity, Action.PULL, known, caller.origin).allowed


def governs(caller: Caller, snapshot: PolicySnapshot, namespace: str) -> bool:
    """Whether a caller administers the instance or owns a namespace, whatever is denied to them at the moment."""
    identity, policy = caller.identity, snapshot.namespaces.get(namespace)
    if identity is None or snapshot.find_account(identity.account) is None:
        return False
    return _is_admin(snapshot, identity) or (policy is not None and snapshot.owns(identity.account, policy))


def visible_ranges(snapshot: PolicySnapshot, caller: Caller) -> list[str] | None:
    """What may hold something to read: `acme/`, a whole name `acme/app`, a beginning `acme/team-*`; None is everything.

    In the order of the names they begin, so that a listing can walk them one after the other. What a deny or a
    condition hides is still inside: whoever lists asks `decide` about each.
    """
    identity = caller.identity
    rights = snapshot.rights_of(identity)
    if _is_admin(snapshot, identity) and not rights.has_denies and not snapshot.elsewhere:
        return None
    readable = [grant for grants in rights.exact.values() for grant in grants if _gives_pull(grant)]
    globs = [grant for grants in rights.patterns.values() for _, grant in grants if _gives_pull(grant)]
    if _is_admin(snapshot, identity) or any(not grant.resource for grant in readable):
        return [""]
    prefixes = {f"{name}/" for name in snapshot.namespaces if _reads_namespace(snapshot, identity, name)}
    prefixes |= {grant.resource if "/" in grant.resource else f"{grant.resource}/" for grant in readable}
    prefixes |= {_beginning(grant.resource) for grant in globs}
    prefixes |= {name for name, visibility in snapshot.repositories.items() if visibility == "public"}
    return _without_overlaps(prefixes)


def visible_namespaces(snapshot: PolicySnapshot, ranges: list[str] | None) -> set[str]:
    """Namespaces in which there may be something to read, by what `visible_ranges` answered."""
    if ranges is None or "" in ranges:
        return set(snapshot.namespaces)
    beginnings = tuple(prefix[:-1] for prefix in ranges if "/" not in prefix)
    known = {prefix.partition("/")[0] for prefix in ranges if "/" in prefix} & snapshot.namespaces.keys()
    return known | {name for name in snapshot.namespaces if beginnings and name.startswith(beginnings)}


def is_open(snapshot: PolicySnapshot, namespace: str, origin: Origin) -> bool:
    """Whether everybody who comes from there may read what a namespace does not hide."""
    policy = snapshot.namespaces.get(namespace)
    return policy is not None and policy.visibility == "public" and not is_elsewhere(snapshot, namespace, origin)


def is_elsewhere(snapshot: PolicySnapshot, resource: str, origin: Origin) -> bool:
    """Whether the namespace of a resource does not answer where a request came in: there it is as if it were not."""
    listeners = snapshot.elsewhere.get(resource.partition(":")[0].partition("/")[0])
    return listeners is not None and origin.listener != LOCAL and origin.listener not in listeners


def _judge(snapshot: PolicySnapshot, question: _Question, grants: list[Grant]) -> Decision:
    action = question.action
    is_admin = question.account is not None and question.account.is_admin
    if action is Action.ADMIN:
        return ALLOWED if is_admin else refuse("only instance administrators may do this")
    if action in OF_ORGANISATIONS:
        return ALLOWED if is_admin else _judge_organisation(snapshot, question)
    is_owner = is_admin or _is_owner(snapshot, question)
    denials = [grant for grant in grants if grant.is_deny and _denies(grant, question)]
    if denials and not (is_owner and action in UNDENIABLE):
        return refuse(*(_explain_denial(grant, question) for grant in denials))
    if is_owner or (action is Action.PULL and _is_public(snapshot, question)):
        return ALLOWED
    return _weigh(snapshot, question, [grant for grant in grants if not grant.is_deny])


def _weigh(snapshot: PolicySnapshot, question: _Question, allowing: list[Grant]) -> Decision:
    if _makes_namespace(snapshot, question):
        return _refuse_new_namespace(snapshot, question)
    if any(not _hinders(grant, question) for grant in allowing):
        return ALLOWED
    if question.action is Action.NAMESPACE_CREATE:
        return ALLOWED if _patrons(snapshot, question) else _refuse_new_namespace(snapshot, question)
    return _refuse(snapshot, question, allowing)


def _makes_namespace(snapshot: PolicySnapshot, question: _Question) -> bool:
    # Who pushes to a namespace that is not there makes it, which grants do not give.
    return question.action in MAKING and question.namespace not in snapshot.namespaces


def _hinders(grant: Grant, question: _Question) -> str:
    """Why an allowing grant does not hold for this question, or nothing if it does."""
    if grant.tags and question.tag and not matches(grant.tags, question.tag):
        return f"only for tags like {grant.tags}"
    if grant.tags and not question.tag and question.action not in TAGLESS:
        return f"only for tags like {grant.tags}, not for what lies behind them"
    return grant.conditions.unmet(question.origin) if grant.conditions else ""


def _denies(grant: Grant, question: _Question) -> bool:
    if not grant.fits(question.tag):
        return False
    if grant.conditions is None or question.origin == UNKNOWN or grant.conditions.is_blind(question.origin):
        return True
    return not grant.conditions.unmet(question.origin)


def _explain_denial(grant: Grant, question: _Question) -> str:
    where = grant.resource or "the whole registry"
    tags = f" for tags like {grant.tags}" if grant.tags else ""
    denied = f"{question.action.value} is denied on {where}{tags} ({grant.title}, grant {grant.id})"
    return f"{denied}, until whoever administers that takes it away with: entrepot grant remove {grant.id}"


def _refuse(snapshot: PolicySnapshot, question: _Question, allowing: list[Grant]) -> Decision:
    name = question.name
    # Whoever may not act shares the verdicts of anybody: no name of theirs may stay in them.
    who = question.identity.name if question.identity and question.account else "anonymous"
    held = sorted(
        {
            grant.title
            for grant in snapshot.rights_of(question.identity).applicable(question.namespace, name)
            if not grant.is_deny
        }
    )
    reasons = [
        _needs(question.action, name),
        f"{who} has {', '.join(held) if held else 'no role'} there",
    ]
    reasons += [f"{grant.title} (grant {grant.id}) would do, but {_hinders(grant, question)}" for grant in allowing]
    # Where a grant is there, what hinders it is to be looked at first.
    if not allowing and question.namespace in snapshot.namespaces and question.identity and question.account:
        whom = f"{question.account.kind}:{question.identity.name}"
        given = f"entrepot grant add {whom} {_role_for(question.action)} {name}"
        reasons.append(f"an owner of {question.namespace} gives it with: {given}")
    return refuse(*reasons)


def _judge_organisation(snapshot: PolicySnapshot, question: _Question) -> Decision:
    action, name = question.action, question.name
    standing = None
    if question.identity is not None and question.account is not None:
        standing = snapshot.membership(question.identity.account, name)
    if standing == "owner" or (standing and action is Action.ORGANISATION_READ):
        return ALLOWED
    # Whoever may not act shares the verdicts of anybody: no name of theirs may stay in them.
    who = question.identity.name if question.identity and question.account else "anonymous"
    needed = "a member" if action is Action.ORGANISATION_READ else "an owner"
    return refuse(
        f"{action.value} on {name} is for whoever is {needed} of the organisation",
        f"{who} is {f'a {standing}' if standing else 'no member'} of it",
    )


def _refuse_elsewhere(snapshot: PolicySnapshot, namespace: str, origin: Origin) -> Decision:
    came = f"the listener {origin.listener}" if origin.listener else "an unknown listener"
    return refuse(
        f"{namespace} answers only on the listeners {', '.join(snapshot.elsewhere[namespace])}, and this came by {came}"
    )


def _needs(action: Action, name: str) -> str:
    return f"{action.value} on {name or 'the registry'} needs the role {_role_for(action)}"


def _role_for(action: Action) -> str:
    """The least role that gives an action."""
    return next((role for role, actions in ROLES.items() if action in actions), "owner")


def _refuse_new_namespace(snapshot: PolicySnapshot, question: _Question) -> Decision:
    name = question.namespace
    first = f"you have no role in the namespace {name}"
    for patron in _patrons(snapshot, question):
        return refuse(
            first, f"as an owner of {patron}, make it with: entrepot namespace create {name} --owner {patron}"
        )
    account = question.identity.account if question.identity and question.account else 0
    beginnings = [f"{patron}-" for patron in snapshot.owned_by(account)]
    own = [f"you can make namespaces whose names begin with {' or '.join(beginnings)}"] if beginnings else []
    return refuse(first, f"an administrator can make it with: entrepot namespace create {name}", *own)


def _patrons(snapshot: PolicySnapshot, question: _Question) -> list[str]:
    if question.identity is None or question.account is None:
        return []
    return snapshot.patrons(question.identity.account, question.namespace)


def _is_owner(snapshot: PolicySnapshot, question: _Question) -> bool:
    identity, account = question.identity, question.account
    if identity is None or account is None or not question.namespace:
        return False
    policy = snapshot.namespaces.get(question.namespace)
    if policy is None:
        return account.kind == "user" and question.namespace == account.name
    return snapshot.owns(identity.account, policy)


def _is_public(snapshot: PolicySnapshot, question: _Question) -> bool:
    policy = snapshot.namespaces.get(question.namespace)
    if policy is None or "/" not in question.name:
        return False
    return snapshot.repositories.get(question.name, policy.visibility) == "public"


def _is_admin(snapshot: PolicySnapshot, identity: Identity | None) -> bool:
    account = snapshot.find_account(identity.account) if identity else None
    return account is not None and account.is_admin


def _reads_namespace(snapshot: PolicySnapshot, identity: Identity | None, name: str) -> bool:
    policy = snapshot.namespaces[name]
    return policy.visibility == "public" or (
        identity is not None
        and snapshot.find_account(identity.account) is not None
        and snapshot.owns(identity.account, policy)
    )


def _gives_pull(grant: Grant) -> bool:
    return not grant.is_deny and Action.PULL in grant.actions


def _beginning(pattern: str) -> str:
    prefix = literal_prefix(pattern)
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}*"


def _without_overlaps(prefixes: set[str]) -> list[str]:
    kept: list[str] = []
    # A star sorts before whatever a name can hold, so that what is within something comes behind it.
    for prefix in sorted(prefixes):
        if not kept or not _holds(kept[-1], prefix):
            kept.append(prefix)
    return kept


def _holds(outer: str, inner: str) -> bool:
    is_range = not outer or outer.endswith(("/", "*"))
    return is_range and inner.startswith(outer.removesuffix("*"))

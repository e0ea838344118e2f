"""Who may pass: authentication, then the table "who gets which answer" of the design."""

from __future__ import annotations

from entrepot.core.decide import decide, is_open
from entrepot.core.identify import authenticate
from entrepot.core.repositories import is_known, unknown_name
from entrepot.domain.access import Action, Caller, Origin
from entrepot.domain.errors import (
    Denied,
    EntrepotError,
    InsufficientScope,
    Unauthenticated,
    Unavailable,
)
from entrepot.domain.names import RepositoryName
from entrepot.domain.policy import PolicySnapshot
from entrepot.wire.context import Context
from entrepot.wire.messages import Request
from entrepot.wire.routing import Endpoint

OPEN = frozenset({Action.PING, Action.TOKEN, Action.CATALOG})


async def admit(context: Context, request: Request, endpoint: Endpoint) -> None:
    """Let the request pass, its `caller` set, or raise what the caller is to be told.

    Raises Unauthenticated, InsufficientScope, NameUnknown, Denied.
    """
    policy = context.registry.policy
    caller = await authenticate(context.registry, context.genuine, request.header(b"authorization"))
    if policy.snapshot.has_conditions:
        caller = _placed(context, request, caller)
    request.caller = caller
    action = endpoint.needs
    if action in OPEN:
        _admit_open(caller, action)
        return
    if request.tag and action is Action.DELETE:
        action = Action.TAG_DELETE
    refusal = _judge(policy.snapshot, caller, action, request)
    if refusal is not None and await policy.refresh():
        # Another process may have just been told otherwise; nobody is to be refused what they were given a moment ago.
        request.caller = _placed(context, request, caller)
        refusal = _judge(policy.snapshot, request.caller, action, request)
    if refusal is not None:
        raise refusal


def _placed(context: Context, request: Request, caller: Caller) -> Caller:
    """The caller with what grants may ask about their request."""
    origin = Origin(context.addresses.client(request), context.registry.clock.now())
    return Caller(caller.identity, caller.ceiling, origin, caller.credential, caller.until)


def _judge(snapshot: PolicySnapshot, caller: Caller, action: Action, request: Request) -> EntrepotError | None:
    """What the caller is to be told, if it is not yes."""
    name = request.resource
    asked = f"{name}:{request.tag}" if request.tag else name
    decision = decide(snapshot, caller.identity, action, asked, caller.origin)
    if decision.allowed and caller.is_admitted(action, name):
        return None
    if caller.identity is None:
        return _anonymous(name, action)
    if decision.allowed:
        return InsufficientScope("the token does not cover this; ask for one with the scope named in the challenge")
    is_open_write = action is not Action.PULL and is_open(snapshot, name.namespace)
    if is_open_write or decide(snapshot, caller.identity, Action.PULL, name, caller.origin).allowed:
        return Denied(f"{action.value} on {asked} is refused", reasons=list(decision.reasons))
    return _hidden(name, action)


async def conceal(context: Context, request: Request, endpoint: Endpoint, error: EntrepotError) -> EntrepotError:
    """The error to show: to whoever reads by a namespace's default only, what is not there looks like what is hidden.

    Asked after something has failed, so that a pull that works never pays for it.
    """
    snapshot, caller, name = context.registry.policy.snapshot, request.caller, request.resource
    is_settled = isinstance(error, (Unauthenticated, Unavailable)) and not isinstance(error, InsufficientScope)
    if is_settled or endpoint.needs is not Action.PULL or not is_open(snapshot, name.namespace):
        return error
    if decide(snapshot, caller.identity, Action.PULL, name.namespace, caller.origin).allowed or await is_known(
        context.registry, name
    ):
        return error
    return unknown_name(name) if caller.identity else _anonymous(name, endpoint.needs)


def _anonymous(name: RepositoryName, action: Action) -> Unauthenticated:
    return Unauthenticated("authentication is required", name=name, action=action.value)


def _admit_open(caller: Caller, action: Action) -> None:
    # Docker decides by the answer to GET /v2/ whether to ask for a token: nobody passes without credentials.
    if action is not Action.TOKEN and caller.identity is None and caller.ceiling is None:
        raise Unauthenticated("authentication is required")
    if action is Action.CATALOG and not caller.is_admitted(action, "catalog"):
        raise InsufficientScope("the token does not cover the catalogue")


def _hidden(name: RepositoryName, action: Action) -> EntrepotError:
    # The same words whether the repository is there or not, so that nobody can tell.
    if action is Action.PULL:
        return unknown_name(name)
    return Denied(
        f"{action.value} on {name} is refused",
        reasons=[
            f"you have no role in the namespace {name.namespace}",
            f"ask its owner for a grant; an administrator makes one with: entrepot namespace create {name.namespace}",
        ],
    )

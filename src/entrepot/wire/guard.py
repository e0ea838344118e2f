"""Who may pass: authentication, then the table "who gets which answer" of the design."""

from __future__ import annotations

from entrepot.core.decide import decide
from entrepot.core.identify import authenticate
from entrepot.core.repositories import unknown_name
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import (
    Denied,
    EntrepotError,
    InsufficientScope,
    Unauthenticated,
)
from entrepot.domain.names import RepositoryName
from entrepot.wire.context import Context
from entrepot.wire.messages import Request
from entrepot.wire.routing import Endpoint

OPEN = frozenset({Action.PING, Action.TOKEN, Action.CATALOG})


async def admit(context: Context, request: Request, endpoint: Endpoint) -> None:
    """Let the request pass, its `caller` set, or raise what the caller is to be told.

    Raises Unauthenticated, InsufficientScope, NameUnknown, Denied.
    """
    caller = await authenticate(context.registry, context.genuine, request.header(b"authorization"))
    request.caller = caller
    action = endpoint.needs
    if action in OPEN:
        _admit_open(caller, action)
        return
    snapshot = context.registry.policy.snapshot
    decision = decide(snapshot, caller.identity, action, request.resource)
    if decision.allowed and caller.is_admitted(action, request.resource):
        return
    if caller.identity is None:
        raise Unauthenticated("authentication is required", name=request.resource, action=action.value)
    if decision.allowed:
        raise InsufficientScope("the token does not cover this; ask for one with the scope named in the challenge")
    if decide(snapshot, caller.identity, Action.PULL, request.resource).allowed:
        raise Denied(f"{action.value} on {request.resource} is refused", reasons=list(decision.reasons))
    raise _hidden(request.resource, action)


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

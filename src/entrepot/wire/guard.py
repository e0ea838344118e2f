"""Who may pass: authentication, then the table "who gets which answer" of the design."""

from __future__ import annotations

from functools import partial
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from entrepot.core.decide import OF_ORGANISATIONS, decide, is_open, knows, refusal
from entrepot.core.identify import authenticate, by_certificate
from entrepot.core.repositories import is_known, unknown_name
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import (
    Denied,
    EntrepotError,
    InsufficientScope,
    Unauthenticated,
    Unavailable,
)
from entrepot.domain.names import RepositoryName
from entrepot.domain.policy import PolicySnapshot
from entrepot.wire.audited import claim_of, entered, failed, refused
from entrepot.wire.context import Context
from entrepot.wire.messages import Request
from entrepot.wire.rates import judge_address, limit_caller
from entrepot.wire.routing import Endpoint

E = TypeVar("E", bound=EntrepotError)
LONGEST_KEPT: Final = 512
NOT_THERE: Final = ("there is no such repository",)
# What no repository is called.
NO_NAME: Final = "?"
OPEN: Final = frozenset({Action.PING, Action.TOKEN, Action.CATALOG})


class _Refusal(msgspec.Struct, frozen=True):
    """What a caller is told, the reasons that only others may hear, and whether it must look like what is not there.

    That is so in a namespace where everybody reads what is not hidden: elsewhere nothing is looked for.
    """

    error: EntrepotError
    reasons: tuple[str, ...]
    is_hidden: bool = False


async def admit(context: Context, request: Request, endpoint: Endpoint) -> None:
    """Let the request pass, its `caller` set, or raise what the caller is to be told.

    Raises Unauthenticated, InsufficientScope, NameUnknown, Denied, TooMany.
    """
    policy, limiter = context.registry.policy, context.limiter
    judge_address(context, request)
    caller = await _identify(context, request)
    snapshot = policy.snapshot
    # What changes something is recorded with where it came from; a pull is not, and does not pay for it.
    if snapshot.has_conditions or endpoint.needs is not Action.PULL:
        caller = _placed(context, request, caller)
    if snapshot.certificates and caller.identity is None and caller.ceiling is None:
        caller = by_certificate(context.registry, context.genuine, _placed(context, request, caller))
    if caller.is_fresh:
        entered(context, request, caller)
    if limiter is not None:
        limit_caller(context, limiter, request, caller)
    request.caller, request.is_identified = caller, True
    action = endpoint.needs
    if action in OPEN:
        _admit_open(caller, action)
        return
    await _permit(context, request, Action.TAG_DELETE if request.tag and action is Action.DELETE else action)


async def _permit(context: Context, request: Request, action: Action) -> None:
    refusal = _judge(context.registry.policy.snapshot, request.caller, action, request)
    if refusal is None:
        return
    request.caller = _placed(context, request, request.caller)
    # Another process may have just been told otherwise; nobody is to be refused what they were given a moment ago.
    await _look_again(context, request, refusal.error)
    refusal = _judge(context.registry.policy.snapshot, request.caller, action, request)
    if refusal is None:
        return
    if not refusal.is_hidden:
        raise _noted(context, request, action, refusal)
    # Looked for like what is not there, so that neither answer comes sooner; `conceal` says the same of both.
    request.hidden = request.resource, refusal.reasons
    request.resource = RepositoryName(f"{request.resource.namespace}/{NO_NAME}")


async def _look_again(context: Context, request: Request, refused: EntrepotError) -> None:
    try:
        await context.registry.policy.refresh()
    except Unavailable:
        # A challenge refuses nobody: many clients ask for a token only when they are told to. In an open namespace it
        # would tell what is hidden from what is not there, which only the database knows.
        snapshot, origin = context.registry.policy.snapshot, request.caller.origin
        if not isinstance(refused, Unauthenticated) or is_open(snapshot, request.resource.namespace, origin):
            raise


async def _identify(context: Context, request: Request) -> Caller:
    header = request.header(b"authorization")
    try:
        return await authenticate(context.registry, context.genuine, header, partial(context.addresses.client, request))
    except (Unauthenticated, Denied) as error:
        failed(context, request, claim_of(header), error)
        raise


def note(context: Context, request: Request, error: Denied, asked: tuple[Action, str]) -> Denied:
    """A refusal by a verb, under an id that can be asked about; `asked` is what it was about, unless the verb says."""
    if error.denial or request.caller.identity is None:
        return error
    action, reasons = error.detail.get("action"), error.detail.get("reasons")
    resource = str(error.detail.get("resource") or asked[1])
    told = tuple(map(str, reasons)) if isinstance(reasons, list) else (error.message,)
    caller = _placed(context, request, request.caller)
    return remember(context, caller, (Action(str(action)) if action else asked[0], resource), (error, told))


def note_unsaid(context: Context, request: Request, action: Action, resource: str) -> None:
    """Remember a refusal, if it is one, that the client is not told: their request goes on without what was refused."""
    caller = _placed(context, request, request.caller)
    decision = decide(context.registry.policy.snapshot, caller.identity, action, resource, caller.origin)
    if not (decision.allowed and caller.is_admitted(action, resource)):
        reasons = decision.reasons or ("the token does not cover this",)
        remember(context, caller, (action, resource), (Denied("this is refused"), reasons))


def remember(context: Context, caller: Caller, asked: tuple[Action, str], refusal: tuple[E, tuple[str, ...]]) -> E:
    """An error with the id under which its reasons are remembered.

    The id is a header, which looks alike whatever is behind it, and in the body only where nothing is hidden.
    """
    error, reasons = refusal
    # The longest name with a tag has 384 characters: what is longer is none, and would only fill a disk.
    asked, reasons = (asked[0], asked[1][:LONGEST_KEPT]), tuple(reason[:LONGEST_KEPT] for reason in reasons)
    error.denial = context.denials.note(caller, asked, reasons, context.registry.clock.now())
    refused(context, caller, asked, (error.denial, reasons))
    if isinstance(error, Denied) and _may_hear(context, caller, asked):
        error.detail["denial"] = error.denial
        # Most clients print the sentence and nothing else.
        error.message = f"{error.message} (entrepot why {error.denial})"
    return error


def _may_hear(context: Context, caller: Caller, asked: tuple[Action, str]) -> bool:
    action, resource = asked
    # Whoever is told of an organisation is in it, and of the registry itself nothing is hidden.
    is_told = action in OF_ORGANISATIONS or not resource or resource.startswith("/")
    return is_told or knows(caller, context.registry.policy.snapshot, resource)


def _noted(context: Context, request: Request, action: Action, refusal: _Refusal) -> EntrepotError:
    return remember(context, request.caller, (action, _asked(request)), (refusal.error, refusal.reasons))


def _asked(request: Request) -> str:
    return f"{request.resource}:{request.tag}" if request.tag else request.resource


def _placed(context: Context, request: Request, caller: Caller) -> Caller:
    """The caller with what grants may ask about their request."""
    return replace(caller, origin=context.addresses.origin(request, context.registry.clock.now()))


def _judge(snapshot: PolicySnapshot, caller: Caller, action: Action, request: Request) -> _Refusal | None:
    """Why the caller may not do it, or None if they may."""
    name, asked = request.resource, _asked(request)
    decision = decide(snapshot, caller.identity, action, asked, caller.origin)
    if decision.allowed and caller.is_admitted(action, name):
        return None
    is_default = is_open(snapshot, name.namespace, caller.origin)
    is_hidden = is_default and action is Action.PULL and not decision.allowed
    if caller.identity is None:
        return _Refusal(_anonymous(name, action), decision.reasons, is_hidden)
    if decision.allowed:
        message = "the token does not cover this; ask for one with the scope named in the challenge"
        return _Refusal(InsufficientScope(message), (message,))
    if (is_default and action is not Action.PULL) or knows(caller, snapshot, name):
        return _Refusal(refusal(caller, snapshot, action, asked), decision.reasons)
    return _Refusal(_hidden(name, action), decision.reasons, is_hidden)


async def conceal(context: Context, request: Request, endpoint: Endpoint, error: EntrepotError) -> EntrepotError:
    """The error to show: to whoever reads by a namespace's default only, what is not there looks like what is hidden.

    Asked after something has failed, so that a pull that works never pays for it.
    """
    held, caller, (name, reasons) = (
        context.registry.policy,
        request.caller,
        request.hidden or (request.resource, NOT_THERE),
    )
    is_hidden, request.resource = request.hidden is not None, name
    is_open_read = endpoint.needs is Action.PULL and is_open(held.snapshot, name.namespace, caller.origin)
    is_settled = isinstance(error, (Unauthenticated, Unavailable)) and not isinstance(error, InsufficientScope)
    # What was said before anything was looked at, to whoever it may be, tells nothing of what is there.
    if is_settled or not request.is_identified or not (is_open_read or is_hidden):
        return error
    if not is_hidden:
        if decide(held.snapshot, caller.identity, Action.PULL, name.namespace, caller.origin).allowed:
            return error
        # As `admit` has done for what is hidden.
        await held.refresh()
    if await is_known(context.registry, name) and not is_hidden:
        return error
    shown = unknown_name(name) if caller.identity else _anonymous(name, endpoint.needs)
    request.caller = _placed(context, request, caller)
    return _noted(context, request, endpoint.needs, _Refusal(shown, reasons))


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
    reasons = [
        f"you have no role in the namespace {name.namespace}",
        f"ask its owner for a role; an administrator makes one with: entrepot namespace create {name.namespace}",
    ]
    what = f"{action.value} on {name}"
    return Denied(f"{what} is refused: {'; '.join(reasons)}", action=action.value, resource=name, reasons=reasons)

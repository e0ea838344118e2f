"""At the door: networks that are not answered, rate limits, and the headers that tell clients where they stand."""

from __future__ import annotations

from typing import Final

from entrepot.core.rates import Limiter, take
from entrepot.domain.access import Caller
from entrepot.domain.errors import Denied, TooMany
from entrepot.domain.rates import Standing
from entrepot.wire.audited import shut_out
from entrepot.wire.context import Context
from entrepot.wire.messages import Message, Request, Scope, Send

STANDING: Final = "entrepot.standing"


def judge_address(context: Context, request: Request) -> None:
    """Judge and count a request by where it came from, before anything is looked at. Raises Denied, TooMany."""
    if not context.addresses.admits(request):
        shut_out(context, request)
        raise Denied("this registry does not answer requests from your network; ask whoever runs it")
    limiter = context.limiter
    if limiter is None:
        return
    address = context.addresses.client(request)
    if not limiter.is_exempt(address):
        _take(context, limiter, request, ("address", address))


def limit_caller(context: Context, limiter: Limiter, request: Request, caller: Caller) -> None:
    """Count a request for who sent it; without an account, once more for where it came from. Raises TooMany."""
    address = context.addresses.client(request)
    if not limiter.is_exempt(address):
        identity = caller.identity
        who = ("anonymous", address) if identity is None else ("identity", str(identity.account))
        _take(context, limiter, request, who)


def _take(context: Context, limiter: Limiter, request: Request, who: tuple[str, str]) -> None:
    try:
        standing = take(context.registry, limiter, *who)
    except TooMany as error:
        request.scope[STANDING] = error.standing
        raise
    before: Standing | None = request.scope.get(STANDING)
    if standing is not None and (before is None or standing.remaining < before.remaining):
        request.scope[STANDING] = standing


def telling(scope: Scope, send: Send) -> Send:
    """A `send` that adds to a response what its request says about limits."""

    async def forward(message: Message) -> None:
        standing: Standing | None = scope.get(STANDING)
        if message["type"] == "http.response.start" and standing is not None:
            message = {**message, "headers": [*message["headers"], *standing.headers()]}
        await send(message)

    return forward

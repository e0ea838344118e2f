"""A face: a route table behind the guard, with one door for errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entrepot.domain.errors import Denied, EntrepotError
from entrepot.wire.bodies import drain
from entrepot.wire.context import Context
from entrepot.wire.guard import admit, conceal, note
from entrepot.wire.messages import Receive, Request, Response, Scope, Send
from entrepot.wire.rates import telling
from entrepot.wire.routing import Endpoint, Router

REFUSED = 400
TIMED_OUT = 408
LONGEST_CAUSE = 300
Renderer = Callable[[Context, Request, EntrepotError, str], Response]


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a format gives its face: what it owns, its routes, how names are read, how errors and 401s are said.

    `mounts` are first segments of paths. `identify` sets `request.resource` from `request.parameters`; `scope_of`
    names the scope of a challenge.
    """

    mounts: tuple[str, ...]
    prefix: str
    endpoints: Sequence[Endpoint]
    identify: Callable[[Request], None]
    scope_of: Callable[[Request, Endpoint], str]
    render_error: Renderer


class Face:
    """One protocol as an ASGI application."""

    def __init__(self, context: Context, grammar: Grammar) -> None:
        self._context = context
        self._grammar = grammar
        self._router = Router(grammar.prefix, grammar.endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if self._context.limiter is not None or self._context.registry.policy.snapshot.plans is not None:
            send = telling(scope, send)
        response = await self.answer(request)
        if response.status >= REFUSED and not request.is_read:
            await self._part(request, response)
        await response.send(send, is_head=request.method == "HEAD")

    async def _part(self, request: Request, response: Response) -> None:
        is_over = response.status != TIMED_OUT and await drain(request)
        if not is_over:
            # What is still on its way would be taken for the next request of this connection.
            response.headers.append((b"connection", b"close"))

    async def answer(self, request: Request) -> Response:
        """The response to one request; errors of the domain are rendered here and nowhere else."""
        endpoint: Endpoint | None = None
        try:
            endpoint = self._router.match(request)
            request.scope["entrepot.route"] = endpoint.path
            if request.parameters:
                self._grammar.identify(request)
            await admit(self._context, request, endpoint)
            if request.caller.identity is not None:
                request.scope["entrepot.caller"] = request.caller.identity.name
            return await endpoint.handler(self._context, request)
        except EntrepotError as error:
            return await self._refuse(request, endpoint, error)

    async def _refuse(self, request: Request, endpoint: Endpoint | None, error: EntrepotError) -> Response:
        request.scope["entrepot.reason"] = _reason(error)
        if endpoint is None:
            return self._grammar.render_error(self._context, request, error, "")
        try:
            shown = await conceal(self._context, request, endpoint, error)
            if isinstance(shown, Denied):
                shown = note(self._context, request, shown, (endpoint.needs, request.resource))
        except EntrepotError as failure:
            shown = failure
        return self._grammar.render_error(self._context, request, shown, self._grammar.scope_of(request, endpoint))


def _reason(error: EntrepotError) -> str:
    """What the log says; what an adapter was told is for nobody else."""
    cause = str(error.__cause__ or "").partition("\n")[0][:LONGEST_CAUSE]
    return f"{error.message}: {cause}" if cause else error.message

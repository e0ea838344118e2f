"""From a request to a page: the route table, whoever is signed in, and one door for errors."""

from __future__ import annotations

from entrepot.domain.errors import EndpointUnknown, EntrepotError, Unsupported
from entrepot.web.errors import render_error
from entrepot.web.pages import HEADERS
from entrepot.web.routes import ENDPOINTS, Endpoint
from entrepot.web.visit import Visit, open_visit
from entrepot.wire.bodies import drain
from entrepot.wire.context import Context
from entrepot.wire.messages import Receive, Request, Response, Scope, Send
from entrepot.wire.rates import judge_address, telling

REFUSED = 400


class Pages:
    """The pages over one registry."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        if response.status >= REFUSED and not request.is_read and not await drain(request):
            # What is still on its way would be taken for the next request of this connection.
            response.headers.append((b"connection", b"close"))
        await response.send(telling(scope, send), is_head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Response:
        visit: Visit | None = None
        endpoint: Endpoint | None = None
        try:
            endpoint = _match(request)
            request.scope["entrepot.route"] = endpoint.path
            if not endpoint.is_file:
                judge_address(self._context, request)
            visit = await open_visit(self._context, request)
            if visit.session is not None:
                request.scope["entrepot.caller"] = visit.session.name
            response = await endpoint.handler(self._context, visit)
        except EntrepotError as error:
            request.scope["entrepot.reason"] = error.message
            response = render_error(error, is_program=endpoint is not None and endpoint.is_for_programs)
        response.headers += HEADERS
        if visit is not None:
            response.headers += visit.cookies_to_set()
        return response


def _match(request: Request) -> Endpoint:
    segments = request.path.split("/")
    fitting = [row for row in ENDPOINTS if _fits(row.path.split("/"), segments)]
    if not fitting:
        raise EndpointUnknown("there is no such page")
    method = "GET" if request.method == "HEAD" else request.method
    endpoint = next((row for row in fitting if row.method == method), None)
    if endpoint is None:
        raise Unsupported(f"{request.method} is not supported here", allowed=sorted({row.method for row in fitting}))
    for wanted, segment in zip(endpoint.path.split("/"), segments, strict=True):
        if wanted.startswith("{"):
            request.parameters[wanted[1:-1]] = segment
    return endpoint


def _fits(wanted: list[str], segments: list[str]) -> bool:
    return len(wanted) == len(segments) and all(
        bool(segment) if each.startswith("{") else each == segment
        for each, segment in zip(wanted, segments, strict=True)
    )

"""The management API as a Litestar application: the route table behind the guard, with one door for errors.

It knows no registry: each request brings along the one it is for, so that one application serves all of a process.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, cast

from litestar import Litestar, MediaType, Request, Response, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from entrepot.api.audit import provide_wanted, provide_within
from entrepot.api.errors import HEADERS, render_domain, render_framework
from entrepot.api.face import PREFIX
from entrepot.api.guard import admit
from entrepot.api.openapi import CONFIG, describe, operation_id
from entrepot.api.request import (
    ApiRequest,
    provide_caller,
    provide_denials,
    provide_ids,
    provide_names,
    provide_registry,
    provide_team,
)
from entrepot.api.routes import ENDPOINTS, Endpoint
from entrepot.api.users import provide_whom
from entrepot.domain.errors import EntrepotError
from entrepot.wire.messages import Application

PARAMETER: Final = re.compile(r"{(\w+)}")


@functools.cache
def build() -> Application:
    """The application, which is built once."""
    router = Router(
        path=PREFIX,
        route_handlers=[*(_handler(endpoint) for endpoint in ENDPOINTS), _schema_handler()],
        guards=[admit],
        dependencies={
            "registry": Provide(provide_registry, sync_to_thread=False),
            "denials": Provide(provide_denials, sync_to_thread=False),
            "caller": Provide(provide_caller, sync_to_thread=False),
            "names": Provide(provide_names, sync_to_thread=False),
            "wanted": Provide(provide_wanted, sync_to_thread=False),
            "within": Provide(provide_within, sync_to_thread=False),
            "whom": Provide(provide_whom, sync_to_thread=False),
            "ids": Provide(provide_ids, sync_to_thread=False),
            "place": Provide(provide_team, sync_to_thread=False),
        },
        request_class=ApiRequest,
    )
    application = Litestar(
        route_handlers=[router],
        state=State({"methods_of": _methods_of}),
        exception_handlers={
            EntrepotError: render_domain,
            HTTPException: render_framework,
            Exception: _fail,
        },
        response_headers=HEADERS,
        openapi_config=CONFIG,
        logging_config=None,
        debug=False,
    )
    return cast("Application", application)


def _handler(endpoint: Endpoint) -> HTTPRouteHandler:
    return HTTPRouteHandler(
        PARAMETER.sub(r"{\1:str}", endpoint.path),
        http_method=HttpMethod(endpoint.method),
        status_code=endpoint.status,
        operation_id=operation_id(endpoint),
        tags=[endpoint.path.split("/")[1]],
        opt={"needs": endpoint.needs, "or_needs": endpoint.or_needs, "path": endpoint.path},
    )(endpoint.handler)


def _methods_of(path: str) -> list[str]:
    paths = {endpoint.path for endpoint in ENDPOINTS if _pattern(endpoint.path).fullmatch(path.rstrip("/"))}
    # A word of its own goes before one that stands for any, as it does where requests find their way.
    closest = min(paths, key=lambda each: each.count("{"), default="")
    methods = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == closest} or {"GET"}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(PREFIX + PARAMETER.sub("[^/]+", path))


def _schema_handler() -> HTTPRouteHandler:
    cache: list[bytes] = []

    async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
        if not cache:
            cache.append(describe(request.app.openapi_schema.to_schema(), ENDPOINTS))
        return Response(cache[0], media_type=MediaType.JSON)

    return HTTPRouteHandler(
        "/openapi.json", http_method="GET", include_in_schema=False, opt={"needs": None, "path": "/openapi.json"}
    )(openapi)


def _fail(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    # Unforeseen: whoever wraps the whole server logs it and answers a bare 500.
    raise error

"""The management API as a Litestar application: the route table behind the guard, with one door for errors.

It knows no registry: each request brings along the one it is for, so that one application serves all of a process.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final, cast, get_type_hints

from litestar import Litestar, MediaType, Request, Response, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from entrepot.api.access import provide_inquiry, provide_whence
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
# What handlers may ask for by name.
PROVIDERS: Final[dict[str, Callable[..., Any]]] = {
    "registry": provide_registry,
    "denials": provide_denials,
    "caller": provide_caller,
    "names": provide_names,
    "wanted": provide_wanted,
    "within": provide_within,
    "whom": provide_whom,
    "whence": provide_whence,
    "inquiry": provide_inquiry,
    "ids": provide_ids,
    "place": provide_team,
}


@functools.cache
def build() -> Application:
    """The application, which is built once."""
    router = Router(
        path=PREFIX,
        route_handlers=[*(_handler(endpoint) for endpoint in ENDPOINTS), _schema_handler()],
        guards=[admit],
        dependencies={name: Provide(provider, sync_to_thread=False) for name, provider in PROVIDERS.items()},
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
        opt={
            "needs": endpoint.needs,
            "or_needs": endpoint.or_needs,
            "path": endpoint.path,
            "known": sorted(_parameters(endpoint.handler)) if endpoint.method == "GET" else None,
        },
    )(endpoint.handler)


def _parameters(function: Callable[..., Any]) -> set[str]:
    """The parameters of the query that a handler reads, and those that what it asks for reads."""
    found = set[str]()
    for name, hint in get_type_hints(function, include_extras=True).items():
        read = (each.name or name for each in getattr(hint, "__metadata__", ()) if isinstance(each, QueryParameter))
        found |= _parameters(PROVIDERS[name]) if name in PROVIDERS else set(read)
    return found


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

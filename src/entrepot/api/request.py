"""What handlers are given: the request with a strict body, the registry, the caller; and pages."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import Request, Response
from litestar.params import Parameter

from entrepot.api.errors import explain
from entrepot.api.face import PREFIX
from entrepot.api.guard import WHO
from entrepot.core.registry import Registry
from entrepot.domain.access import Caller
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.names import LONGEST_NAMESPACE
from entrepot.wire.paging import render_link

T = TypeVar("T")

DEFAULT_ENTRIES: Final = 100
MOST_ENTRIES: Final = 1000
LARGEST_ID: Final = 2**62
JSON: Final = "application/json"

Entries = Annotated[
    int,
    Parameter(query="n", ge=1, le=MOST_ENTRIES, description="How many entries a page has at most."),
]
After = Annotated[
    str, Parameter(query="last", max_length=255, description="The last entry of the page before; `Link` carries it.")
]
Beyond = Annotated[
    int, Parameter(query="last", ge=0, le=LARGEST_ID, description="The last id of the page before; `Link` carries it.")
]
Before = Annotated[
    int | None,
    Parameter(query="last", ge=1, le=LARGEST_ID, description="The last id of the page before; `Link` carries it."),
]
Within = Annotated[
    str,
    Parameter(query="namespace", max_length=LONGEST_NAMESPACE, description="Only repositories of this namespace."),
]
Expected = Annotated[
    str | None,
    Parameter(query="expected", max_length=140, description="The digest at which the tag must stand; else 412."),
]


class ApiRequest(Request[Any, Any, Any]):
    """A request whose JSON is read exactly as its type says: no unknown fields, no "1" for 1."""

    async def json(self) -> Any:
        """The body as the type that the handler declares. Raises RequestInvalid with the path of the field."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != JSON:
            # A page of another site can make a browser send forms and text with stored credentials, but not this.
            raise RequestInvalid(f"the body must be JSON: send Content-Type: {JSON}", got=media_type[:80])
        wanted = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        try:
            return msgspec.json.decode(await self.body(), type=wanted)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise explain(error) from None
        except RecursionError:
            raise RequestInvalid("the body is nested too deeply") from None


def provide_registry(request: Request[Any, Any, Any]) -> Registry:
    """The registry that verbs take."""
    registry: Registry = request.app.state.context.registry
    return registry


def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """Whoever the guard found."""
    caller: Caller = request.scope[WHO]  # type: ignore[typeddict-item]
    return caller


def page(request: Request[Any, Any, Any], content: T, following: str | int | None) -> Response[T]:
    """A page of a listing, with a Link to the next one where there is one."""
    if following is None:
        return Response(content)
    pairs = [(name, value) for name, value in request.query_params.items() if name != "last"]
    path = request.scope["path"].replace("%2F", "/")
    return Response(content, headers={"link": render_link(path, [*pairs, ("last", str(following))])})


def created(path: str, content: T) -> Response[T]:
    """What was made, with the path of it below the API."""
    return Response(content, headers={"location": PREFIX + path})

"""What handlers are given: the request with a strict body, the registry, the caller; and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from entrepot.api.errors import WHO
from entrepot.api.face import CONTEXT, PREFIX
from entrepot.api.guard import scope_of
from entrepot.api.paths import restore
from entrepot.core.denials import DenialLog
from entrepot.core.listing import Page
from entrepot.core.registry import Registry
from entrepot.core.teams import TeamName
from entrepot.domain.access import Caller
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.names import LONGEST_NAMESPACE
from entrepot.domain.shapes import explain_shape
from entrepot.wire.context import Context
from entrepot.wire.paging import render_link

T = TypeVar("T")
A = TypeVar("A")

DEFAULT_ENTRIES: Final = 100
MOST_ENTRIES: Final = 1000
LARGEST_ID: Final = 2**53 - 1
MOST_DIGITS: Final = 16
JSON: Final = "application/json"

AnyRequest = Request[Any, Any, Any]
InPath = FromPath[str]
Entries = Annotated[
    int, QueryParameter(name="n", ge=1, le=MOST_ENTRIES, description="How many entries a page has at most.")
]
LastName = Annotated[
    str,
    QueryParameter(name="last", max_length=255, description="The last entry of the page before; `Link` carries it."),
]
LastId = Annotated[
    int, QueryParameter(name="last", ge=0, le=LARGEST_ID, description="The last id of the page before; 0 for none.")
]
Within = Annotated[
    str,
    QueryParameter(name="namespace", max_length=LONGEST_NAMESPACE, description="Only repositories of this namespace."),
]
Expected = Annotated[
    str,
    QueryParameter(name="expected", max_length=140, description="The digest at which the tag must stand; else 412."),
]

OfNamespace = Annotated[
    str,
    QueryParameter(name="namespace", max_length=LONGEST_NAMESPACE, description="Only those of this namespace."),
]

InOrganisation = Annotated[
    str,
    QueryParameter(name="organisation", max_length=LONGEST_NAMESPACE, description="Only into this organisation."),
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
        except RecursionError:
            raise RequestInvalid("the body is nested too deeply") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise explain_shape(error, wanted) from None


def id_of(text: str) -> int | None:
    """The id that a path names; None for what is no number, which is the id of nothing."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if is_number and int(text) <= LARGEST_ID else None


@dataclass(frozen=True, slots=True)
class Listing(Generic[A]):
    """Which page of a listing is asked for, and how it is answered."""

    request: AnyRequest
    after: A
    limit: int

    @property
    def page(self: Listing[str]) -> Page:
        """The page as verbs take it."""
        return Page(self.after, self.limit)

    def answer(self, content: T, following: A | None) -> Response[T]:
        """A page, with a Link to the next one where there is one."""
        if following is None:
            return Response(content)
        pairs = [(name, value) for name, value in self.request.query_params.items() if name != "last"]
        path = restore(self.request.scope["path"])
        return Response(content, headers={"link": render_link(path, [*pairs, ("last", str(following))])})


def provide_names(request: AnyRequest, n: Entries = DEFAULT_ENTRIES, last: LastName = "") -> Listing[str]:
    """A page of a listing in the order of names."""
    return Listing(request, last, n)


def provide_ids(request: AnyRequest, n: Entries = DEFAULT_ENTRIES, last: LastId = 0) -> Listing[int]:
    """A page of a listing in the order of ids."""
    return Listing(request, last, n)


def provide_team(organisation: InPath, team: InPath) -> TeamName:
    """The team that a path names."""
    return TeamName(organisation, team)


def provide_registry(request: AnyRequest) -> Registry:
    """The registry that verbs take."""
    context: Context = scope_of(request)[CONTEXT]
    return context.registry


def provide_denials(request: AnyRequest) -> DenialLog:
    """What this process refused and has not written yet."""
    context: Context = scope_of(request)[CONTEXT]
    return context.denials


def provide_caller(request: AnyRequest) -> Caller:
    """Whoever the guard found."""
    caller: Caller = scope_of(request)[WHO]
    return caller


TheRegistry = NamedDependency[Registry]
TheDenials = NamedDependency[DenialLog]
TheCaller = NamedDependency[Caller]
Names = NamedDependency[Listing[str]]
Ids = NamedDependency[Listing[int]]
TheTeam = NamedDependency[TeamName]


def created(path: str, content: T) -> Response[T]:
    """What was made, with the path of it below the API."""
    return Response(content, headers={"location": PREFIX + path})

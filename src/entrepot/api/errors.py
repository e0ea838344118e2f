"""The one door for errors: the same JSON as the registry's other faces, with codes of this one."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from entrepot.api.face import CONTEXT
from entrepot.domain import errors as domain
from entrepot.domain.access import ANONYMOUS
from entrepot.wire.context import Context
from entrepot.wire.errors import Entry, Table, find_entry, headers_for
from entrepot.wire.guard import note
from entrepot.wire.messages import Receive, Scope
from entrepot.wire.messages import Request as WireRequest

TABLE: Final[Table] = {
    domain.EntrepotError: Entry("UNKNOWN", 500),
    domain.Invalid: Entry("REQUEST_INVALID", 400),
    domain.NameInvalid: Entry("NAME_INVALID", 400),
    domain.TagInvalid: Entry("TAG_INVALID", 400),
    domain.DigestInvalid: Entry("DIGEST_INVALID", 400),
    domain.SizeInvalid: Entry("SIZE_INVALID", 400),
    domain.Unknown: Entry("UNKNOWN", 404),
    domain.EndpointUnknown: Entry("ENDPOINT_UNKNOWN", 404),
    domain.NameUnknown: Entry("NAME_UNKNOWN", 404),
    domain.ManifestUnknown: Entry("MANIFEST_UNKNOWN", 404),
    domain.AccountUnknown: Entry("USER_UNKNOWN", 404),
    domain.OrganisationUnknown: Entry("ORGANISATION_UNKNOWN", 404),
    domain.TeamUnknown: Entry("TEAM_UNKNOWN", 404),
    domain.RoleUnknown: Entry("ROLE_UNKNOWN", 404),
    domain.PlanUnknown: Entry("PLAN_UNKNOWN", 404),
    domain.InvitationUnknown: Entry("INVITATION_UNKNOWN", 404),
    domain.CredentialUnknown: Entry("CREDENTIAL_UNKNOWN", 404),
    domain.JobUnknown: Entry("JOB_UNKNOWN", 404),
    domain.Unmet: Entry("UNMET", 409),
    domain.Conflict: Entry("CONFLICT", 409),
    domain.AlreadyExists: Entry("ALREADY_EXISTS", 409),
    domain.PreconditionFailed: Entry("PRECONDITION_FAILED", 412),
    domain.TooLarge: Entry("SIZE_INVALID", 413),
    domain.TooSlow: Entry("SIZE_INVALID", 408),
    domain.TooMany: Entry("TOOMANYREQUESTS", 429),
    domain.Unsupported: Entry("UNSUPPORTED", 405),
    domain.CodeInvalid: Entry("CODE_INVALID", 400),
    domain.Unauthenticated: Entry("UNAUTHORIZED", 401),
    domain.CodeNeeded: Entry("CODE_NEEDED", 401),
    domain.EnrolmentNeeded: Entry("ENROLMENT_NEEDED", 401),
    domain.Denied: Entry("DENIED", 403),
    domain.Unavailable: Entry("UNAVAILABLE", 503),
    domain.StorageFull: Entry("STORAGE_FULL", 507),
}

# Answers are about people and permissions: no cache keeps them, no browser guesses at their type.
HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
BASIC: Final = 'Basic realm="entrepot", charset="UTF-8"'
WHO: Final = "entrepot.who"
ASKED: Final = "entrepot.asked"
CHALLENGE: Final = "entrepot.challenge"
MOST_NAMED: Final = 10
BODY: Final = "data"
SERVER_ERROR: Final = 500


class Problem(msgspec.Struct, omit_defaults=True):
    """One thing that was wrong: a code for programs, a sentence for people, details of either."""

    code: str
    message: str
    detail: dict[str, Any] = {}


class Problems(msgspec.Struct):
    """The body of every error."""

    errors: list[Problem]


def render_domain(request: Request[Any, Any, Any], error: domain.EntrepotError) -> Response[Problems]:
    """An error of the domain with its status and the headers that belong to it."""
    entry = find_entry(TABLE, error)
    scope = cast("Scope", request.scope)
    context: Context = scope[CONTEXT]
    wire = WireRequest(scope, cast("Receive", request.receive))
    wire.caller = scope.get(WHO, ANONYMOUS)
    if isinstance(error, domain.Denied) and ASKED in scope:
        error = note(context, wire, error, scope[ASKED])
    headers = {**HEADERS, **dict(headers_for(error, context.addresses, wire, scope.get(CHALLENGE, "")))}
    if isinstance(error, domain.Unauthenticated):
        # Basic first: what administers takes no token. A scope is named where a token would do.
        bearer = headers.pop("www-authenticate")
        headers["www-authenticate"] = f"{BASIC}, {bearer}" if 'scope="' in bearer else BASIC
    return Response(
        Problems([Problem(entry.code, error.message, dict(error.detail))]), status_code=entry.status, headers=headers
    )


def render_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problems]:
    """What the framework found wrong, said in the words of the domain."""
    return render_domain(request, _translate(request, error))


def _translate(request: Request[Any, Any, Any], error: HTTPException) -> domain.EntrepotError:
    match error:
        case NotFoundException():
            return domain.EndpointUnknown("no endpoint of the API answers to this path")
        case MethodNotAllowedException():
            method, path = request.scope["method"], request.scope["path"]
            return domain.Unsupported(f"{method} is not supported here", allowed=request.app.state.methods_of(path))
        case ValidationException(extra=[*found]):
            named = [(str(each.get("key", "")), str(each.get("message", ""))) for each in found[:MOST_NAMED]]
            if any(key == BODY for key, _ in named):
                return domain.RequestInvalid("the body must be a JSON document", field="")
            text = "; ".join(f"{key}: {message}" for key, message in named)
            return domain.RequestInvalid(text, field=named[0][0] if named else "")
    if error.status_code >= SERVER_ERROR:
        raise error
    return domain.RequestInvalid(error.detail)

"""Who may pass: the table "who gets which answer" of the design, for repositories, namespaces and the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from litestar.connection import ASGIConnection
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers.base import BaseRouteHandler
from msgspec.structs import replace

from entrepot.api.errors import ASKED, CHALLENGE, WHO
from entrepot.api.face import AUTHENTICATE, CONTEXT, NOTES, PREFIX
from entrepot.api.paths import restore
from entrepot.core.decide import decide, is_open, refusal
from entrepot.core.identify import by_certificate
from entrepot.core.namespaces import is_visible, unknown_namespace
from entrepot.core.organisations import unknown_organisation
from entrepot.core.registry import Registry
from entrepot.core.repositories import is_known, unknown_name
from entrepot.core.sign_in import Shown, authenticate_with
from entrepot.domain.access import SCOPE_WORD, Action, Caller
from entrepot.domain.errors import (
    Denied,
    EntrepotError,
    InsufficientScope,
    NameUnknown,
    RequestInvalid,
    Unauthenticated,
)
from entrepot.domain.names import (
    LONGEST_NAMESPACE,
    RepositoryName,
    parse_namespace_name,
    parse_repository_name,
    parse_tag,
)
from entrepot.domain.policy import PolicySnapshot
from entrepot.wire.audited import claim_of, entered, watch
from entrepot.wire.context import Context
from entrepot.wire.guard import NOT_THERE, remember
from entrepot.wire.messages import Receive, Request, Scope
from entrepot.wire.rates import judge_address, limit_caller

Connection = ASGIConnection[Any, Any, Any, Any]
ROUTE, CALLER = NOTES
ONE_TIME_CODE: Final = b"entrepot-otp"
# Where whoever must have one-time codes and has none gets by the password alone.
ENROLMENT: Final = frozenset({"/users/{user}/totp", "/users/{user}/totp/confirm"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request is about: `acme/app` and perhaps a tag of it, `acme`, or empty for the registry itself.

    With `is_organisation`, `acme` is the organisation and not the namespace.
    """

    resource: str
    is_read: bool
    tag: str = ""
    is_organisation: bool = False

    @property
    def asked(self) -> str:
        """The resource as decisions take it."""
        return f"{self.resource}:{self.tag}" if self.tag else self.resource

    @property
    def is_repository(self) -> bool:
        """Whether it is a repository."""
        return "/" in self.resource


async def admit(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let the request pass, its caller noted, or raise what the caller is to be told.

    Raises Unauthenticated, InsufficientScope, NameUnknown, Denied, NameInvalid, TooMany, and RequestInvalid for a
    parameter of the query that the endpoint does not read.
    """
    if "needs" not in handler.opt:
        raise MethodNotAllowedException  # the framework's own answer to OPTIONS
    scope, needs = scope_of(connection), handler.opt["needs"]
    scope[ROUTE] = PREFIX + handler.opt["path"]
    if needs is None:
        return
    subject = _subject(connection)
    scope[CHALLENGE] = _challenge(needs, subject.resource)
    context: Context = scope[CONTEXT]
    policy = context.registry.policy
    request, limiter = Request(scope, cast("Receive", connection.receive)), context.limiter
    judge_address(context, request)
    # Another worker may have changed it by the request before this one, or revoked what is shown with this one.
    await policy.refresh()
    address, header = context.addresses.client(request), request.header(b"authorization")
    proving = _find_caller(context, scope, handler.opt["path"], address)
    caller = await watch(context, request, claim_of(header), proving)
    caller = replace(caller, origin=context.addresses.origin(request, context.registry.clock.now()))
    caller = by_certificate(context.registry, context.genuine, caller)
    if caller.is_fresh:
        entered(context, request, caller)
    if limiter is not None:
        limit_caller(context, limiter, request, caller)
    scope[WHO] = caller
    needs = _or_other(policy.snapshot, caller, (needs, handler.opt["or_needs"]), subject)
    if caller.identity is not None:
        scope[CALLER] = caller.identity.name
    # Where it is about the registry, the path says what of it.
    scope[ASKED] = needs, subject.asked or (scope.get("raw_path") or b"").decode("latin-1")
    is_there = await _is_there(context.registry, caller, needs, subject)
    try:
        judge(policy.snapshot, caller, needs, subject, is_there=is_there)
    except (Unauthenticated, Denied, NameUnknown) as error:
        decision = decide(policy.snapshot, caller.identity, needs, subject.asked, caller.origin)
        raise remember(context, caller, scope[ASKED], (error, decision.reasons if is_there else NOT_THERE)) from None
    _require_known(connection, handler.opt["known"])


async def _is_there(registry: Registry, caller: Caller, needs: Action, subject: Subject) -> bool:
    """Whether a repository is there, looked for where what is not must look like what is hidden; else True.

    That is where everybody reads what a namespace does not hide. It is looked for whether or not they may, so that
    neither answer comes sooner.
    """
    snapshot, name = registry.policy.snapshot, RepositoryName(subject.resource)
    if needs is not Action.PULL or not _is_in_the_open(snapshot, caller, subject):
        return True
    reads_all = decide(snapshot, caller.identity, Action.PULL, name.namespace, caller.origin).allowed
    return reads_all or await is_known(registry, name)


def _is_in_the_open(snapshot: PolicySnapshot, caller: Caller, subject: Subject) -> bool:
    return subject.is_repository and is_open(snapshot, RepositoryName(subject.resource).namespace, caller.origin)


def _require_known(connection: Connection, known: list[str] | None) -> None:
    """Raise RequestInvalid for a parameter that a GET does not read: without a filter it lists what was not meant."""
    if known is None:
        return
    for name in connection.query_params:
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "this takes none"
            field = name[:LONGEST_NAMESPACE]
            raise RequestInvalid(f"there is no such parameter; {there}", field=field, known=known)


async def _find_caller(context: Context, scope: Scope, path: str, address: str) -> Caller:
    headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
    header, code = headers.get(b"authorization"), headers.get(ONE_TIME_CODE, b"").decode("latin-1")
    if header is not None and (code or path in ENROLMENT):
        return await authenticate_with(
            context.registry, context.genuine, Shown(header, code, address, path in ENROLMENT)
        )
    caller: Caller = await scope[AUTHENTICATE](context, header, address)
    return caller


def scope_of(connection: Connection) -> Scope:
    """The scope as the server knows it, which the framework's types close."""
    return cast("Scope", connection.scope)


def judge(snapshot: PolicySnapshot, caller: Caller, needs: Action, subject: Subject, *, is_there: bool = True) -> None:
    """Raise what the caller is to be told, unless both policy and token allow it; what is not there looks hidden."""
    if needs is Action.TOKEN:
        # Whoever is nobody yet: what lets them in is in the body.
        return
    if needs is Action.PING:
        _require_identity(caller)
        return
    resource = "catalog" if needs is Action.CATALOG else subject.resource
    is_allowed = _is_allowed(snapshot, caller, needs, subject)
    if is_there and is_allowed and caller.is_admitted(needs, resource):
        return
    _require_identity(caller)
    if not is_there:
        raise unknown_name(RepositoryName(resource))
    if is_allowed:
        raise InsufficientScope("the token does not cover this; send the user name and password, or a wider token")
    raise _refusal(snapshot, caller, needs, subject)


def _or_other(
    snapshot: PolicySnapshot, caller: Caller, needs: tuple[Action, Action | None], subject: Subject
) -> Action:
    """The action to be judged: the other one where it is allowed, for the verb judges again."""
    first, other = needs
    is_open = other is not None and _is_allowed(snapshot, caller, other, subject)
    return other if other is not None and is_open else first


def _is_allowed(snapshot: PolicySnapshot, caller: Caller, needs: Action, subject: Subject) -> bool:
    if needs is Action.CATALOG:
        # Listings are filtered by what may be pulled; whoever proved something may ask for them.
        return caller.identity is not None or caller.ceiling is not None
    if needs is Action.PULL and not subject.is_repository:
        return is_visible(snapshot, caller, subject.resource)
    return decide(snapshot, caller.identity, needs, subject.asked, caller.origin).allowed


def _subject(connection: Connection) -> Subject:
    parameters = connection.path_params
    is_read = scope_of(connection)["method"] == "GET"
    if "repository" in parameters:
        name = parse_repository_name(restore(parameters["repository"]))
        # A dictionary of its own: the framework shares the one it found among requests.
        connection.scope["path_params"] = {**parameters, "repository": name}
        return Subject(name, is_read, parse_tag(parameters["tag"]) if "tag" in parameters else "")
    if "organisation" in parameters:
        return Subject(parse_namespace_name(parameters["organisation"]), is_read, is_organisation=True)
    return Subject(parse_namespace_name(parameters["namespace"]) if "namespace" in parameters else "", is_read)


def _challenge(needs: Action, resource: str) -> str:
    if needs is Action.CATALOG:
        return "registry:catalog:*"
    word = SCOPE_WORD.get(needs)
    return f"repository:{resource}:{'pull' if word == 'pull' else f'pull,{word}'}" if word and "/" in resource else ""


def _require_identity(caller: Caller) -> None:
    if caller.identity is None:
        raise Unauthenticated("authentication is required")


def _refusal(snapshot: PolicySnapshot, caller: Caller, needs: Action, subject: Subject) -> EntrepotError:
    resource = subject.resource
    if subject.is_organisation and not _is_inside(snapshot, caller, resource):
        return unknown_organisation(resource)
    # In the open everybody is told what they lack, whether it is there, hidden, or not there.
    is_told = needs is not Action.PULL and _is_in_the_open(snapshot, caller, subject)
    is_hideable = resource and subject.is_read and not subject.is_organisation and not is_told
    if is_hideable and not _may_know(snapshot, caller, subject):
        # The same words whether it is there or not, so that nobody can tell.
        return unknown_name(RepositoryName(resource)) if subject.is_repository else unknown_namespace(resource)
    return refusal(caller, snapshot, needs, subject.asked)


def _may_know(snapshot: PolicySnapshot, caller: Caller, subject: Subject) -> bool:
    if subject.is_repository:
        return decide(snapshot, caller.identity, Action.PULL, subject.resource, caller.origin).allowed
    return is_visible(snapshot, caller, subject.resource)


def _is_inside(snapshot: PolicySnapshot, caller: Caller, organisation: str) -> bool:
    return decide(snapshot, caller.identity, Action.ORGANISATION_READ, organisation, caller.origin).allowed

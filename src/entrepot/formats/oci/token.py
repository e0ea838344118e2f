"""The token service (Docker's token and OAuth2 specifications), as docker, containerd and the rest speak to it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import replace

from entrepot.core.federate import KEYLESS
from entrepot.core.identify import Issued, Service, enter, issue, refresh_identity
from entrepot.domain.access import Caller, parse_scopes
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.json import render_json
from entrepot.formats.oci import exchange
from entrepot.wire.audited import Claim, claim_by, entered, watch
from entrepot.wire.bodies import read
from entrepot.wire.context import Context
from entrepot.wire.messages import Request, Response, document

LONGEST_SERVICE = 255


class TokenDocument(msgspec.Struct, omit_defaults=True):
    """The answer; `token` and `access_token` are the same, because clients read one or the other."""

    token: str
    access_token: str
    expires_in: int
    issued_at: str
    refresh_token: str | None = None
    scope: str | None = None
    issued_token_type: str | None = None
    token_type: str | None = None


async def get(context: Context, request: Request) -> Response:
    """`GET /token`: a token for the Basic credentials, or for anonymous; `offline_token=true` adds a refresh token."""
    is_offline = request.query_value("offline_token") in {"true", "1"}
    scopes = parse_scopes(request.query_values("scope"))
    service = _service(context, request, request.query_value("service"))
    return _answer(await issue(context.registry, request.caller, scopes, service, offline=is_offline))


async def post(context: Context, request: Request) -> Response:
    """`POST /token`: OAuth2 with `grant_type` password, refresh_token or an exchange; scopes spaced or repeated."""
    raw = await read(request, context.limits, context.limits.form_bytes)
    try:
        form = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise RequestInvalid("the body is not a readable form") from None
    fields = dict(form)
    scopes = parse_scopes([value for key, value in form if key == "scope"])
    service = _service(context, request, fields.get("service"))
    if fields.get("grant_type") in exchange.GRANTS:
        admitted = await watch(context, request, Claim("", KEYLESS), exchange.admit(context, request, fields))
        entered(context, request, admitted.caller)
        wanted = scopes if fields.get("scope") else admitted.rule.ceiling
        return _answer(await issue(context.registry, admitted.caller, wanted, service, offline=False), exchanged=True)
    caller, is_offline = await _find_caller(context, request, fields)
    # Who they are stands in the form, where they come from in the request.
    caller = replace(caller, origin=request.caller.origin)
    issued = await issue(context.registry, caller, scopes, service, offline=is_offline)
    given = fields.get("refresh_token") if fields.get("grant_type") == "refresh_token" else None
    return _answer(issued, given, fields.get("scope", ""))


def _service(context: Context, request: Request, asked: str | None) -> Service:
    """What a token is for: this registry, by the name that its challenges have, unless another service is asked for."""
    issuer = context.addresses.base(request)
    own = issuer.partition("://")[2]
    if asked and len(asked) > LONGEST_SERVICE:
        raise RequestInvalid(f"a service has a name of at most {LONGEST_SERVICE} characters", field="service")
    return Service(issuer, asked or own, not asked or asked.casefold() == own.casefold())


async def _find_caller(context: Context, request: Request, fields: dict[str, str]) -> tuple[Caller, bool]:
    claim = claim_by(fields.get("username", ""), fields.get("password", ""))
    caller, is_offline = await watch(
        context, request, claim, _caller(context, fields, context.addresses.client(request))
    )
    if caller.is_fresh:
        entered(context, request, caller)
    return caller, is_offline


async def _caller(context: Context, fields: dict[str, str], address: str) -> tuple[Caller, bool]:
    match fields.get("grant_type"):
        case "password":
            name, password = fields.get("username", ""), fields.get("password", "")
            caller = await enter(context.registry, context.genuine, name, password, address)
            return caller, fields.get("access_type") == "offline"
        case "refresh_token":
            identity = await refresh_identity(context.registry, fields.get("refresh_token", ""))
            return Caller(identity, None, method="refresh-token"), False
        case other:
            known = ["password", "refresh_token", *sorted(exchange.GRANTS)]
            raise RequestInvalid("grant_type must be password, refresh_token or an exchange", got=other, known=known)


def _answer(
    issued: Issued, refresh_token: str | None = None, scope: str | None = None, *, exchanged: bool = False
) -> Response:
    body = TokenDocument(
        issued.token,
        issued.token,
        issued.seconds,
        datetime.fromtimestamp(issued.issued_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        issued.refresh_token or refresh_token,
        scope,
        exchange.ACCESS if exchanged else None,
        "Bearer" if exchanged else None,
    )
    return document(200, "application/json", render_json(body), ("cache-control", "no-store"))

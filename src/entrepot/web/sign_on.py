"""`/login/oidc/...`: to a provider and back."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from entrepot.core import sign_on
from entrepot.core.sign_on import Returned
from entrepot.domain.sign_on import OIDC
from entrepot.web.pages import go
from entrepot.web.visit import SIGN_ON, Visit, local_path
from entrepot.wire.audited import Claim, entered, watch
from entrepot.wire.context import Context
from entrepot.wire.messages import Response

FIELDS: Final = ("code", "state", "iss", "error")


async def leave(context: Context, visit: Visit) -> Response:
    """`GET /login/oidc/NAME`: send the browser to the provider."""
    name = visit.request.parameters["provider"]
    goal = local_path(visit.request.query_value("next") or "")
    redirect = f"{visit.base}/login/oidc/{quote(name, safe='')}/callback"
    leaving = await sign_on.leave(context.registry, name, redirect, goal)
    visit.set_cookie(SIGN_ON, leaving.ticket, leaving.seconds)
    return go(leaving.url)


async def come_back(context: Context, visit: Visit) -> Response:
    """`GET /login/oidc/NAME/callback`: a session for whoever the provider signed in."""
    code, state, issuer, error = (visit.request.query_value(field) or "" for field in FIELDS)
    returned = Returned(code, state, issuer, error, visit.cookie(SIGN_ON))
    visit.set_cookie(SIGN_ON, "", 0)
    arriving = sign_on.arrive(context.registry, visit.request.parameters["provider"], returned, visit.browser)
    arrived = await watch(context, visit.request, Claim("", OIDC), arriving)
    entered(context, visit.request, arrived.caller)
    await visit.sign_in(arrived.opened)
    return go(arrived.goal)

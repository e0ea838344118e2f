"""`/login/device`: programs that log in by a page (RFC 8628), seen by the program and by the person."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from entrepot.core import devices
from entrepot.core.credentials import Made
from entrepot.core.devices import Asking, Begun, Waiting
from entrepot.core.registry import SECOND
from entrepot.domain.device import parse_user_code
from entrepot.domain.errors import RequestInvalid
from entrepot.domain.json import render_json
from entrepot.domain.scopes import ADMIN_SCOPE
from entrepot.metadata.device_codes import DeviceRow
from entrepot.metadata.sessions import SessionRow
from entrepot.web.pages import NO_STORE, go, render
from entrepot.web.visit import Visit
from entrepot.wire.context import Context
from entrepot.wire.messages import Response, document

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
PAGE: Final = "/login/device"
MOST: Final = "everything you may do, except to administer"
ALL: Final = "everything you may do, administration included"


async def begin(context: Context, visit: Visit) -> Response:
    """`POST /login/device/code`: codes for a program that wants to log in (RFC 8628, section 3.1)."""
    fields = await visit.plain_form()
    asking = Asking(fields.get("machine", ""), visit.browser.agent, visit.browser.address, fields.get("scope", ""))
    return _begun(visit, await devices.begin(context.registry, asking))


async def redeem(context: Context, visit: Visit) -> Response:
    """`POST /login/device/token`: the token, or why there is none yet (RFC 8628, sections 3.4 and 3.5)."""
    fields = await visit.plain_form()
    if fields.get("grant_type") != GRANT:
        raise RequestInvalid(f"grant_type must be {GRANT}")
    origin = context.addresses.origin(visit.request, context.registry.clock.now())
    outcome = await devices.redeem(context.registry, fields.get("device_code", ""), origin)
    return _waiting(outcome) if isinstance(outcome, Waiting) else _made(context, outcome)


async def show(context: Context, visit: Visit) -> Response:
    """`GET /login/device`: where a person types the code."""
    del context
    code = parse_user_code(visit.request.query_value("code") or "")
    if visit.session is None:
        goal = f"{PAGE}?code={code}" if code else PAGE
        return go(f"/login?next={quote(goal, safe='')}")
    return render(200, "device.html", session=visit.session, code=code, csrf=visit.csrf(), problem="")


async def look(context: Context, visit: Visit) -> Response:
    """`POST /login/device`: what asks, before anybody decides."""
    fields = await visit.form()
    code, session = fields.get("code", ""), _require_session(visit)
    row = await devices.find(context.registry, session, code)
    return _confirm(visit, session, row, parse_user_code(code))


async def decide(context: Context, visit: Visit) -> Response:
    """`POST /login/device/confirm`: let the program log in, or do not."""
    fields = await visit.form()
    is_approved = fields.get("answer") == "approve"
    session = _require_session(visit)
    code, address = fields.get("code", ""), visit.browser.address
    row = await devices.decide(context.registry, session, code, is_approved=is_approved, address=address)
    text = (
        f"{row.name} is logged in as {session.name} in a moment; you can close this page."
        if is_approved
        else f"{row.name} was refused. If you did not start this, nobody has your password by it."
    )
    return render(200, "message.html", title="Done", text=text)


def _require_session(visit: Visit) -> SessionRow:
    if visit.session is None:
        raise RequestInvalid(f"you are not signed in any more; open {PAGE} again")
    return visit.session


def _confirm(visit: Visit, session: SessionRow, row: DeviceRow, code: str) -> Response:
    is_same = row.address == visit.browser.address
    scopes = ALL if ADMIN_SCOPE in row.scopes else " ".join(row.scopes) or MOST
    values = {"row": row, "code": code, "scopes": scopes, "is_same": is_same}
    return render(200, "confirm.html", session=session, csrf=visit.csrf(), **values)


def _begun(visit: Visit, begun: Begun) -> Response:
    page = f"{visit.base}{PAGE}"
    body = {
        "device_code": begun.device_code,
        "user_code": begun.user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?code={begun.user_code}",
        "expires_in": begun.seconds,
        "interval": begun.pause,
    }
    return document(200, "application/json", render_json(body), NO_STORE)


def _waiting(waiting: Waiting) -> Response:
    return document(400, "application/json", render_json({"error": waiting.problem}), NO_STORE)


def _made(context: Context, made: Made) -> Response:
    ends = made.row.expires_at or 0
    body = {
        "access_token": made.secret,
        "token_type": "Bearer",
        "expires_in": max(0, (ends - context.registry.clock.now()) // SECOND),
        "scope": " ".join(made.row.scopes),
        "username": made.holder.name,
    }
    return document(200, "application/json", render_json(body), NO_STORE)

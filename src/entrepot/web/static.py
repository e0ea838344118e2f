"""What pages look like."""

from __future__ import annotations

from entrepot.web.pages import STYLE
from entrepot.web.visit import Visit
from entrepot.wire.context import Context
from entrepot.wire.messages import Response, document


async def style(context: Context, visit: Visit) -> Response:
    """`GET /static/style.css`."""
    del context, visit
    return document(200, "text/css; charset=utf-8", STYLE, ("cache-control", "public, max-age=3600"))

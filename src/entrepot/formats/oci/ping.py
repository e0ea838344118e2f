"""Whether this is a registry at all."""

from __future__ import annotations

from entrepot.wire.context import Context
from entrepot.wire.messages import Request, Response, document


async def answer(context: Context, request: Request) -> Response:
    """`GET /v2/` (end-1): 200 to whoever has credentials, an anonymous token included."""
    del context, request
    return document(200, "application/json", b"{}", ("docker-distribution-api-version", "registry/2.0"))

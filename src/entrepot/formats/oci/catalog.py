"""The catalogue: which repositories there are, as far as the caller may know."""

from __future__ import annotations

from entrepot.core.listing import Page, list_repositories
from entrepot.domain.json import render_json
from entrepot.wire.context import Context
from entrepot.wire.messages import Request, Response, document
from entrepot.wire.paging import parse_limit, render_link


async def list_page(context: Context, request: Request) -> Response:
    """`GET /v2/_catalog` (Docker Registry HTTP API V2, "Catalog"): names by pages of `n` after `last`."""
    page = Page(request.query_value("last") or "", parse_limit(request))
    rows, following = await list_repositories(context.registry, request.caller, page)
    response = document(200, "application/json", render_json({"repositories": [row.name for row in rows]}))
    if following is not None:
        link = render_link(request.path, [("n", str(page.limit)), ("last", following)])
        response.headers.append((b"link", link.encode()))
    return response

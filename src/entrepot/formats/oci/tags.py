"""The list of tags."""

from __future__ import annotations

from entrepot.core.listing import Page, list_tags
from entrepot.domain.json import render_json
from entrepot.wire.context import Context
from entrepot.wire.messages import Request, Response, document
from entrepot.wire.paging import parse_limit, render_link
from entrepot.wire.routing import NAME


async def list_names(context: Context, request: Request) -> Response:
    """`GET /v2/<name>/tags/list` (end-8a, end-8b): names in byte order, by pages of `n` after `last`."""
    page = Page(request.query_value("last") or "", parse_limit(request))
    names, following = await list_tags(context.registry, request.resource, page)
    body = render_json({"name": request.parameters[NAME], "tags": names})
    response = document(200, "application/json", body)
    if following is not None:
        link = render_link(request.path, [("n", str(page.limit)), ("last", following)])
        response.headers.append((b"link", link.encode()))
    return response

"""Referrers: the manifests whose subject is a digest."""

from __future__ import annotations

from typing import Final

from entrepot.core.listing import Page, list_referrers
from entrepot.domain.digests import parse_digest
from entrepot.domain.media_types import IMAGE_INDEX
from entrepot.wire.context import Context
from entrepot.wire.messages import Request, Response, document
from entrepot.wire.paging import parse_limit, render_link

ENTRIES: Final = 500
FRAME: Final = '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}'


async def list_page(context: Context, request: Request) -> Response:
    """`GET /v2/<name>/referrers/<digest>` (end-12a), filtered by `artifactType` (end-12b): an index, never 404."""
    subject = parse_digest(request.parameters["digest"])
    artifact_type = request.query_value("artifactType") or None
    page = Page(request.query_value("last") or "", min(parse_limit(request, default=ENTRIES), ENTRIES))
    found, following = await list_referrers(
        context.registry, request.caller, request.resource, (subject, artifact_type), page
    )
    response = document(200, IMAGE_INDEX, (FRAME % (IMAGE_INDEX, ",".join(found))).encode())
    if artifact_type is not None:
        response.headers.append((b"oci-filters-applied", b"artifactType"))
    if following is not None:
        pairs = [("n", str(page.limit)), ("last", following)]
        pairs += [("artifactType", artifact_type)] if artifact_type else []
        response.headers.append((b"link", render_link(request.path, pairs).encode()))
    return response

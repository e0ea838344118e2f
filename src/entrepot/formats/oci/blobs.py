"""Blobs: pull with ranges, check, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from entrepot.core.decide import decide
from entrepot.core.delete import delete_blob
from entrepot.core.pull import get_blob, promise_blob
from entrepot.domain.access import Action
from entrepot.domain.digests import parse_digest
from entrepot.metadata.blobs import StoredBlob
from entrepot.ports.store import BlobStore
from entrepot.wire.conditional import matches
from entrepot.wire.context import Context
from entrepot.wire.messages import HARMLESS, STALE, FileSpan, Headers, Request, Response, empty
from entrepot.wire.ranges import Unsatisfiable, parse_range

SMALL_BYTES: Final = 64 << 10


async def pull(context: Context, request: Request) -> Response:
    """`GET /v2/<name>/blobs/<digest>` (end-2), whole or one range of it."""
    blob = await get_blob(context.registry, request.resource, parse_digest(request.parameters["digest"]))
    headers = _headers(context, request, blob)
    entity_tag = f'"{blob.digest}"'
    condition = request.text_header(b"if-none-match")
    if condition and matches(condition, entity_tag):
        return Response(304, headers)
    try:
        wanted = _range(request, blob, entity_tag)
    except Unsatisfiable:
        return Response(416, [*headers, (b"content-range", b"bytes */%d" % blob.size), (b"content-length", b"0")])
    if wanted is None:
        return await _respond(context, request, blob, Response(200, headers), (0, blob.size))
    headers.append((b"content-range", b"bytes %d-%d/%d" % (wanted[0], wanted[1] - 1, blob.size)))
    return await _respond(context, request, blob, Response(206, headers), wanted)


async def check(context: Context, request: Request) -> Response:
    """`HEAD /v2/<name>/blobs/<digest>` (end-2); a 200 is a promise that a push may rely on."""
    blob = await get_blob(context.registry, request.resource, parse_digest(request.parameters["digest"]), with_pin=True)
    await promise_blob(context.registry, request.resource, blob)
    headers = _headers(context, request, blob)
    condition = request.text_header(b"if-none-match")
    if condition and matches(condition, f'"{blob.digest}"'):
        return Response(304, headers)
    return Response(200, [*headers, (b"content-length", b"%d" % blob.size)])


async def delete(context: Context, request: Request) -> Response:
    """`DELETE /v2/<name>/blobs/<digest>` (end-10); 405 while a manifest of the repository names it."""
    digest = parse_digest(request.parameters["digest"])
    await delete_blob(context.registry, request.caller, request.resource, digest)
    return empty(202)


def _headers(context: Context, request: Request, blob: StoredBlob) -> Headers:
    is_public = decide(context.registry.policy.snapshot, None, Action.PULL, request.resource).allowed
    keep = b"max-age=31536000, immutable"
    return [
        *([STALE] if blob.is_stale else []),
        *HARMLESS,
        (b"content-type", b"application/octet-stream"),
        (b"accept-ranges", b"bytes"),
        (b"docker-content-digest", blob.digest.encode()),
        (b"docker-distribution-api-version", b"registry/2.0"),
        (b"etag", b'"%s"' % blob.digest.encode()),
        (b"cache-control", keep if is_public else b"private, " + keep),
        (b"content-disposition", b"attachment"),
    ]


def _range(request: Request, blob: StoredBlob, entity_tag: str) -> tuple[int, int] | None:
    header = request.text_header(b"range")
    condition = request.text_header(b"if-range").strip()
    # RFC 9110 section 13.1.5: another validator than ours means that the client's part is of something else.
    if not header or (condition and condition != entity_tag):
        return None
    return parse_range(header, blob.size)


async def _respond(
    context: Context, request: Request, blob: StoredBlob, response: Response, span: tuple[int, int]
) -> Response:
    start, stop = span
    if context.redirects is not None and (location := await context.redirects.location(request, blob)):
        return _redirect(blob, location)
    response.headers.append((b"content-length", b"%d" % (stop - start)))
    files = context.registry.abilities.files
    if files is not None and len(blob.pieces) == 1 and _sends_files(request):
        response.span = FileSpan(files.open(blob.pieces[0].key), start, stop - start)
        return response
    content = _read(context.registry.store, blob, start, stop)
    if stop - start <= SMALL_BYTES:
        response.body = b"".join([chunk async for chunk in content])
    else:
        # A store that fails before the first byte has an answer of its own: 503 or 404, and no broken connection.
        response.stream = _led(await anext(content), content)
    return response


def _redirect(blob: StoredBlob, location: str) -> Response:
    """307, whose address is for this client and this time: a range is asked for again there, as it was here."""
    return Response(
        307,
        [
            *HARMLESS,
            (b"location", location.encode("ascii")),
            (b"docker-content-digest", blob.digest.encode()),
            (b"docker-distribution-api-version", b"registry/2.0"),
            (b"cache-control", b"no-store"),
            (b"referrer-policy", b"no-referrer"),
            (b"content-length", b"0"),
        ],
    )


def _sends_files(request: Request) -> bool:
    return "http.response.zerocopysend" in (request.scope.get("extensions") or {})


async def _led(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    del first
    async for chunk in rest:
        yield chunk


async def _read(store: BlobStore, blob: StoredBlob, start: int, stop: int) -> AsyncIterator[bytes]:
    offset = 0
    for piece in blob.pieces:
        low, high = max(start - offset, 0), min(stop - offset, piece.size)
        if low < high:
            async for chunk in store.read(piece.key, low, high):
                yield chunk
        offset += piece.size

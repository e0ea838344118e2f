"""Uploads of blobs: start, append, show, cancel, finish, mount."""

from __future__ import annotations

from entrepot.core import upload
from entrepot.core.upload import Chunk
from entrepot.domain.access import Action
from entrepot.domain.digests import (
    DEFAULT_ALGORITHM,
    Digest,
    parse_algorithm,
    parse_digest,
)
from entrepot.domain.errors import DigestInvalid, NameInvalid, SizeInvalid
from entrepot.domain.names import RepositoryName, parse_repository_name
from entrepot.wire.bodies import Body, content_length, has_body
from entrepot.wire.context import Context
from entrepot.wire.guard import note_unsaid
from entrepot.wire.messages import Request, Response, empty
from entrepot.wire.ranges import parse_chunk_range, render_received
from entrepot.wire.routing import NAME

VERSION = ("docker-distribution-api-version", "registry/2.0")


async def start(context: Context, request: Request) -> Response:
    """`POST /v2/<name>/blobs/uploads/` (end-4a, end-4c), whole with `?digest=` (end-4b), or a mount (end-11)."""
    mount = request.query_value("mount")
    if mount is not None and await _mount(context, request, mount):
        return _created(request, parse_digest(mount))
    digest = request.query_value("digest")
    if digest is not None and mount is None:
        content = Body(request, context.limits, context.limits.blob_bytes)
        whole = parse_digest(digest)
        await upload.push_blob(context.registry, request.caller, request.resource, whole, content)
        return _created(request, whole)
    algorithm = parse_algorithm(request.query_value("digest-algorithm") or DEFAULT_ALGORITHM)
    begun = await upload.start_upload(context.registry, request.caller, request.resource, algorithm)
    wants = context.registry.abilities.chunks
    # Advice: smaller ones are taken, too.
    least = [("oci-chunk-min-length", str(wants.least_chunk_bytes))] if wants else []
    return empty(202, *_state(context, request, begun.id, 0), *least)


async def append(context: Context, request: Request) -> Response:
    """`PATCH <location>` (end-5): the next bytes, with a Content-Range or streamed without one."""
    progress = await upload.append_chunk(
        context.registry, request.resource, request.parameters["upload"], _chunk(context, request)
    )
    return empty(202, *_state(context, request, progress.upload.id, progress.end))


async def finish(context: Context, request: Request) -> Response:
    """`PUT <location>?digest=<digest>` (end-6): close the upload, with a last chunk or without."""
    value = request.query_value("digest")
    if value is None:
        raise DigestInvalid("the closing PUT needs the digest of the whole blob as ?digest=")
    digest = parse_digest(value)
    chunk = _chunk(context, request) if has_body(request) else None
    where = (request.resource, request.parameters["upload"])
    await upload.finish_upload(context.registry, request.caller, where, digest, chunk)
    return _created(request, digest)


async def show(context: Context, request: Request) -> Response:
    """`GET <location>` (end-13): how far the upload has come."""
    progress = await upload.get_progress(context.registry, request.resource, request.parameters["upload"])
    return empty(204, *_state(context, request, progress.upload.id, progress.end))


async def cancel(context: Context, request: Request) -> Response:
    """`DELETE <location>` (end-14): forget the upload and its bytes."""
    await upload.cancel_upload(context.registry, request.caller, request.resource, request.parameters["upload"])
    return empty(204)


async def _mount(context: Context, request: Request, mount: str) -> bool:
    source = request.query_value("from")
    try:
        home: RepositoryName | None = parse_repository_name(source) if source else None
    except NameInvalid:
        # "If a registry ... is unable to mount the requested blob, it SHOULD return a 202": an upload begins instead.
        return False
    if await upload.mount_blob(context.registry, request.caller, request.resource, parse_digest(mount), home):
        return True
    if home is not None:
        note_unsaid(context, request, Action.PULL, home)
    return False


def _chunk(context: Context, request: Request) -> Chunk:
    most = context.limits.blob_bytes
    header = request.text_header(b"content-range")
    if not header:
        return Chunk(Body(request, context.limits, most))
    first, stop = parse_chunk_range(header)
    length = content_length(request)
    if length is not None and length != stop - first:
        raise SizeInvalid("Content-Range and Content-Length differ", range=header, length=length)
    return Chunk(Body(request, context.limits, most, exact=stop - first), first)


def _state(context: Context, request: Request, upload_id: str, end: int) -> list[tuple[str, str]]:
    # Absolute, because Charliecloud takes it as it is; the realm of a challenge needs the same address to be right.
    location = f"{context.addresses.base(request)}/v2/{request.parameters[NAME]}/blobs/uploads/{upload_id}"
    return [
        ("location", location),
        ("range", render_received(end)),
        ("docker-upload-uuid", upload_id),
        VERSION,
    ]


def _created(request: Request, digest: Digest) -> Response:
    location = f"/v2/{request.parameters[NAME]}/blobs/{digest}"
    return empty(201, ("location", location), ("docker-content-digest", digest), VERSION)

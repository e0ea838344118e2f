"""Manifests: pull, check, push, delete."""

from __future__ import annotations

from typing import Final

from entrepot.core.decide import decide
from entrepot.core.delete import delete_manifest, delete_tag
from entrepot.core.pull import get_manifest
from entrepot.core.push import ManifestPush, push_manifest
from entrepot.domain.access import Action
from entrepot.domain.digests import Digest
from entrepot.domain.errors import ManifestUnknown, RequestInvalid, TagInvalid
from entrepot.domain.media_types import without_parameters
from entrepot.domain.names import Reference, Tag, parse_reference, parse_tag
from entrepot.domain.plans import is_pull
from entrepot.metadata.manifests import StoredManifest
from entrepot.wire.bodies import read
from entrepot.wire.conditional import accepts, matches
from entrepot.wire.context import Context
from entrepot.wire.messages import HARMLESS, Headers, Request, Response, empty
from entrepot.wire.pulls import limit_pull
from entrepot.wire.routing import NAME

MOST_TAGS: Final = 100
COMMON: Final[Headers] = [*HARMLESS, (b"docker-distribution-api-version", b"registry/2.0"), (b"vary", b"accept")]
BY_TAG: Final = (b"cache-control", b"no-cache")
BY_DIGEST: Final = (b"cache-control", b"max-age=31536000, immutable")
BY_DIGEST_PRIVATE: Final = (b"cache-control", b"private, max-age=31536000, immutable")


async def pull(context: Context, request: Request) -> Response:
    """`GET /v2/<name>/manifests/<tag-or-digest>` (end-3): the exact bytes that were pushed."""
    response = await _respond(context, request, with_bytes=True)
    identity = request.caller.identity
    context.registry.audit.pulls.add(identity.account if identity else 0, request.resource)
    return response


async def check(context: Context, request: Request) -> Response:
    """`HEAD /v2/<name>/manifests/<tag-or-digest>` (end-3): the same without the bytes."""
    return await _respond(context, request, with_bytes=False)


async def push(context: Context, request: Request) -> Response:
    """`PUT /v2/<name>/manifests/<tag-or-digest>` (end-7a), with `?tag=` repeated for a digest (end-7b)."""
    reference = parse_reference(request.parameters["reference"])
    raw = await read(request, context.limits, context.limits.manifest_bytes)
    order = ManifestPush(
        request.resource,
        without_parameters(request.text_header(b"content-type")),
        raw,
        _tags(request, reference),
        claimed=reference if isinstance(reference, Digest) else None,
        expected=_expected(request),
    )
    manifest = await push_manifest(context.registry, request.caller, order)
    pairs = [
        ("location", f"/v2/{request.parameters[NAME]}/manifests/{manifest.digest}"),
        ("docker-content-digest", manifest.digest),
        ("docker-distribution-api-version", "registry/2.0"),
    ]
    if manifest.subject is not None:
        pairs.append(("oci-subject", manifest.subject))
    if isinstance(reference, Digest) and order.tags:
        pairs.append(("oci-tag", ", ".join(order.tags)))
    return empty(201, *pairs)


async def delete(context: Context, request: Request) -> Response:
    """`DELETE /v2/<name>/manifests/<tag-or-digest>` (end-9): a tag is only a pointer; a digest takes its tags along."""
    reference = _existing(request)
    if isinstance(reference, Digest):
        await delete_manifest(context.registry, request.caller, request.resource, reference)
    else:
        await delete_tag(context.registry, request.caller, request.resource, Tag(reference))
    return empty(202)


async def _respond(context: Context, request: Request, *, with_bytes: bool) -> Response:
    reference = _existing(request)
    found = await get_manifest(context.registry, request.resource, reference, with_bytes=with_bytes)
    accept = request.text_header(b"accept")
    if accept and not accepts(accept, found.media_type):
        raise ManifestUnknown(
            "the manifest exists, but the Accept header does not admit its media type", mediaType=found.media_type
        )
    entity_tag = f'"{found.digest}"'
    headers = [
        *COMMON,
        _cache_control(context, request, reference),
        (b"docker-content-digest", found.digest.encode()),
        (b"etag", entity_tag.encode()),
    ]
    condition = request.text_header(b"if-none-match")
    is_held = bool(condition) and matches(condition, entity_tag)
    if context.registry.policy.snapshot.plans is not None:
        await limit_pull(context, request, is_pull=with_bytes and not is_held and is_pull(found.media_type, found.raw))
    if is_held:
        return Response(304, headers)
    return Response(200, headers + _content(found), found.raw)


def _existing(request: Request) -> Reference:
    try:
        return parse_reference(request.parameters["reference"])
    except TagInvalid as error:
        # What cannot be a tag cannot have been pushed: to a reader it is simply not there.
        raise ManifestUnknown(error.message, name=request.resource, reference=request.parameters["reference"]) from None


def _content(found: StoredManifest) -> Headers:
    return [(b"content-type", found.media_type.encode()), (b"content-length", b"%d" % found.size)]


def _cache_control(context: Context, request: Request, reference: Reference) -> tuple[bytes, bytes]:
    if isinstance(reference, Tag):
        return BY_TAG
    is_public = decide(context.registry.policy.snapshot, None, Action.PULL, request.resource).allowed
    return BY_DIGEST if is_public else BY_DIGEST_PRIVATE


def _tags(request: Request, reference: Reference) -> tuple[Tag, ...]:
    if isinstance(reference, Tag):
        return (reference,)
    tags = tuple(dict.fromkeys(parse_tag(value) for value in request.query_values("tag")))
    if len(tags) > MOST_TAGS:
        raise RequestInvalid(f"at most {MOST_TAGS} tags are pushed at once", got=len(tags))
    return tags


def _expected(request: Request) -> frozenset[str] | None:
    # RFC 9110 section 13.1: a client that read a tag may move it only if nobody else has.
    if request.text_header(b"if-none-match").strip() == "*":
        return frozenset({""})
    wanted = request.text_header(b"if-match")
    if not wanted.strip():
        return None
    return frozenset(candidate.strip().removeprefix("W/").strip('"') for candidate in wanted.split(","))

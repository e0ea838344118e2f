"""Manifests: bytes to references, subject and artifact type. Pure; the raw bytes stay the truth."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from entrepot.domain import media_types
from entrepot.domain.digests import (
    DEFAULT_ALGORITHM,
    Digest,
    digest_of,
    parse_descriptor_digest,
)
from entrepot.domain.errors import DigestInvalid, ManifestInvalid
from entrepot.domain.json import render_json

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = 2
# RFC 6838, section 4.2: 127 characters on each side of the slash.
LONGEST_TYPE: Final = 255
EdgeKind = Literal["config", "layer", "manifest", "subject"]


class Descriptor(msgspec.Struct, rename="camel", omit_defaults=True):
    """Media type, digest and size of content, with what else was said of it (image-spec descriptor.md)."""

    digest: str
    size: int
    media_type: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Edge(msgspec.Struct, frozen=True):
    """One edge out of a manifest. `is_optional` content may be absent when the manifest is pushed.

    `size` in bytes, as the manifest says.
    """

    kind: EdgeKind
    digest: Digest
    is_optional: bool
    size: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """A parsed manifest with the exact bytes it came as."""

    digest: Digest
    media_type: str
    raw: bytes
    edges: tuple[Edge, ...]
    artifact_type: str
    subject: Digest | None
    annotations: dict[str, str] | None

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests rather than layers."""
        return self.media_type in media_types.INDEXES

    def describe(self) -> bytes:
        """The descriptor that a referrers listing shows for this manifest, as JSON.

        Source: distribution-spec, "Listing Referrers": an index without artifactType has none.
        """
        descriptor = Descriptor(
            media_type=self.media_type,
            digest=self.digest,
            size=len(self.raw),
            artifact_type=self.artifact_type,
            annotations=self.annotations,
        )
        return render_json(descriptor)


_decoder = msgspec.json.Decoder(_Document)
_any_decoder = msgspec.json.Decoder(dict[str, Any])


def parse_manifest(
    media_type: str, raw: bytes, *, algorithm: str = DEFAULT_ALGORITHM, optional: frozenset[EdgeKind] = frozenset()
) -> Manifest:
    """Read a manifest; `media_type` is the Content-Type without parameters, empty if there was none.

    Edges of the kinds in `optional` may lead to content that is not there. Raises ManifestInvalid.
    """
    try:
        document = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_schema1(media_type, raw)
        raise ManifestInvalid(
            "the manifest is not the JSON document that its media type promises", reason=str(error)
        ) from error
    declared = _media_type(media_type, document)
    _require_shape(declared, document)
    edges = tuple(_edges(document, optional))
    return Manifest(
        digest=digest_of(raw, algorithm),
        media_type=declared,
        raw=raw,
        edges=edges,
        artifact_type=_artifact_type(declared, document),
        subject=next((edge.digest for edge in edges if edge.kind == "subject"), None),
        annotations=document.annotations,
    )


def _refuse_schema1(media_type: str, raw: bytes) -> None:
    schema = 0
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        schema = _any_decoder.decode(raw).get("schemaVersion", 0)
    if media_type in media_types.SCHEMA1 or schema == 1:
        raise ManifestInvalid(
            "Docker image manifest version 2, schema 1 is not accepted: it was retired in 2019; push schema 2 or OCI",
            mediaType=media_type,
        )


def _media_type(given: str, document: _Document) -> str:
    if given in media_types.SCHEMA1 or document.schema_version == 1:
        raise ManifestInvalid(
            "Docker image manifest version 2, schema 1 is not accepted: it was retired in 2019; push schema 2 or OCI",
            mediaType=given,
        )
    if document.schema_version != SCHEMA:
        raise ManifestInvalid(f"schemaVersion must be {SCHEMA}", got=document.schema_version)
    declared = given or document.media_type
    if not declared:
        declared = media_types.IMAGE_INDEX if document.manifests is not None else media_types.IMAGE_MANIFEST
    if document.media_type and document.media_type != declared:
        raise ManifestInvalid(
            "mediaType of the manifest and Content-Type of the request differ",
            mediaType=document.media_type,
            contentType=declared,
        )
    if not document.media_type and declared in media_types.DOCKER:
        # The bytes alone must say what they are: the same digest is never served under two media types.
        raise ManifestInvalid("a Docker manifest needs its mediaType in the document", contentType=declared)
    if declared not in media_types.MANIFESTS:
        raise ManifestInvalid(
            "this manifest media type is not supported", mediaType=declared, supported=sorted(media_types.MANIFESTS)
        )
    return declared


def _require_shape(media_type: str, document: _Document) -> None:
    if media_type in media_types.INDEXES:
        if document.manifests is None:
            raise ManifestInvalid("an index needs the list manifests", mediaType=media_type)
        if document.layers is not None or document.config is not None:
            raise ManifestInvalid("an index has neither config nor layers", mediaType=media_type)
        return
    if document.manifests is not None:
        raise ManifestInvalid("an image manifest has no list manifests", mediaType=media_type)
    if document.config is None or document.layers is None:
        raise ManifestInvalid("an image manifest needs config and the list layers", mediaType=media_type)


def _artifact_type(media_type: str, document: _Document) -> str:
    artifact_type = document.artifact_type
    if not artifact_type and media_type not in media_types.INDEXES and document.config is not None:
        artifact_type = document.config.media_type
    if "\0" in artifact_type or len(artifact_type) > LONGEST_TYPE:
        raise ManifestInvalid(f"an artifact type is a media type: at most {LONGEST_TYPE} characters, and no NUL")
    return artifact_type


def _edges(document: _Document, optional: frozenset[EdgeKind]) -> Iterator[Edge]:
    if document.config is not None:
        yield _edge("config", document.config, is_optional="config" in optional)
    for layer in document.layers or ():
        is_foreign = layer.media_type in media_types.NON_DISTRIBUTABLE
        yield _edge("layer", layer, is_optional=is_foreign or "layer" in optional)
    for child in document.manifests or ():
        yield _edge("manifest", child, is_optional="manifest" in optional)
    if document.subject is not None:
        yield _edge("subject", document.subject, is_optional=True)


def _edge(kind: EdgeKind, descriptor: Descriptor, *, is_optional: bool) -> Edge:
    if descriptor.size < 0:
        raise ManifestInvalid("a descriptor's size is never negative", digest=descriptor.digest, size=descriptor.size)
    try:
        digest = parse_descriptor_digest(descriptor.digest)
    except DigestInvalid as error:
        raise ManifestInvalid(f"a {kind} descriptor's digest is not one: {error.message}", **error.detail) from error
    return Edge(kind, digest, is_optional, descriptor.size)

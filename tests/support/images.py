"""Small images, indexes and artifacts, with the digests they have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.domain import media_types
from entrepot.domain.digests import Digest, digest_of

CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYER = b"the bytes of a layer"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest as it is pushed, with the blobs and manifests that it needs."""

    raw: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()
    children: tuple[Image, ...] = ()

    @property
    def digest(self) -> Digest:
        """The sha256 of the manifest."""
        return digest_of(self.raw)

    def describe(self) -> Document:
        """The descriptor of this manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.raw)}


def describe(content: bytes, media_type: str = media_types.LAYER_TAR_GZIP) -> Document:
    """The descriptor of a blob."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def image(
    layers: Sequence[bytes] = (LAYER,),
    *,
    config: bytes = CONFIG,
    media_type: str = media_types.IMAGE_MANIFEST,
    subject: Image | None = None,
    **more: Any,
) -> Image:
    """An image manifest over a config and layers; `more` are further members of the document."""
    document: Document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": describe(config, media_types.IMAGE_CONFIG),
        "layers": [describe(layer) for layer in layers],
        **more,
    }
    if subject is not None:
        document["subject"] = subject.describe()
    return Image(json.dumps(document).encode(), media_type, (config, *layers))


def index(children: Sequence[Image], *, media_type: str = media_types.IMAGE_INDEX, **more: Any) -> Image:
    """An index over manifests."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [child.describe() for child in children],
        **more,
    }
    return Image(json.dumps(document).encode(), media_type, (), tuple(children))


def artifact(subject: Image, artifact_type: str, content: bytes = b"{}") -> Image:
    """An artifact attached to a subject."""
    return image(
        (), config=content, subject=subject, artifactType=artifact_type, annotations={"org.example.note": artifact_type}
    )

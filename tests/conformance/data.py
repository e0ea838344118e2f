"""The content that the scenarios push: data sets written from the image specification, random at each call."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_TAR_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LAYER_NONDISTRIBUTABLE_GZIP = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"
OCTETS = "application/octet-stream"
SBOM = "application/vnd.example.sbom.v1"
SIGNATURE = "application/vnd.example.signature.v1"

ALGORITHMS = ("sha256", "sha512")
PLATFORMS = (("linux", "amd64"), ("linux", "arm64"))
LARGE_MANIFEST_BYTES = 3_900_000

Descriptor = dict[str, Any]


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of content, as `algorithm:hex`."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def random_text() -> str:
    """A word that nobody has pushed before."""
    return os.urandom(12).hex()


def encode(document: dict[str, Any]) -> bytes:
    """A document as JSON with spaces that no other encoder would choose, so that re-encoding shows."""
    return json.dumps(document, indent=3, separators=(" ,", " : ")).encode()


@dataclass(frozen=True)
class Manifest:
    """A manifest as it is pushed: the exact bytes, its type, and the digest of its subject if it has one."""

    digest: str
    media_type: str
    raw: bytes
    subject: str | None = None


@dataclass
class DataSet:
    """What one scenario pushes: blobs, manifests in pushing order, tags, and the referrers to expect."""

    algorithm: str = "sha256"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, list[Descriptor]] = field(default_factory=dict)
    sparse: set[str] = field(default_factory=set)
    tags_by_parameter: bool = False
    with_data: bool = False
    with_custom_fields: bool = False

    def blob(self, media_type: str, content: bytes) -> Descriptor:
        """Add a blob and describe it."""
        digest = digest_of(content, self.algorithm)
        self.blobs[digest] = content
        return self._describe(media_type, digest, content)

    def layer(self, media_type: str = LAYER_TAR_GZIP) -> tuple[Descriptor, str]:
        """Add a layer with one random file; answers its descriptor and the digest of the tar itself."""
        tar = one_file_tar(random_text().encode())
        content = gzip.compress(tar) if media_type.endswith("gzip") else tar
        return self.blob(media_type, content), digest_of(tar, self.algorithm)

    def config(self, platform: tuple[str, str], diff_ids: list[str]) -> Descriptor:
        """Add an image config."""
        system, architecture = platform
        document = {
            "author": random_text(),
            "os": system,
            "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        return self.blob(IMAGE_CONFIG, encode(self._customized(document)))

    def image(self, *, layers: int = 2, layer_type: str = LAYER_TAR_GZIP, **fields: Any) -> Descriptor:
        """Add an image with its config and layers; `fields` are further members of the manifest."""
        pairs = [self.layer(layer_type) for _ in range(layers)]
        config = self.config(fields.pop("platform", PLATFORMS[0]), [diff_id for _, diff_id in pairs])
        return self.manifest({"config": config, "layers": [layer for layer, _ in pairs], **fields})

    def artifact(self, artifact_type: str = SBOM, **fields: Any) -> Descriptor:
        """Add an artifact packed as an image manifest with the empty config."""
        config = self.blob(EMPTY_JSON, b"{}")
        layers = fields.pop("layers", None) or [self.blob(artifact_type, random_text().encode() * 20)]
        return self.manifest({"artifactType": artifact_type, "config": config, "layers": layers, **fields})

    def manifest(self, members: dict[str, Any]) -> Descriptor:
        """Add an image manifest with these members."""
        return self._add({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, **members})

    def index(self, children: list[Descriptor], **fields: Any) -> Descriptor:
        """Add an image index over these children."""
        return self._add({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": children, **fields})

    def image_index(self, **fields: Any) -> Descriptor:
        """Add an index over one image for each platform."""
        children = []
        for system, architecture in PLATFORMS:
            image = self.image(platform=(system, architecture))
            children.append({**image, "platform": {"os": system, "architecture": architecture}})
        return self.index(children, **fields)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Tag a manifest of this data set."""
        self.tags[name] = descriptor["digest"]

    def tags_of(self, digest: str) -> list[str]:
        """The tags that point at a manifest."""
        return [name for name, pointed in self.tags.items() if pointed == digest]

    def withhold(self, descriptor: Descriptor) -> None:
        """Leave a blob out of what is pushed, so that whoever refers to it is sparse."""
        del self.blobs[descriptor["digest"]]

    def _add(self, document: dict[str, Any]) -> Descriptor:
        """Add a manifest or index, and what its subject is to list."""
        raw = encode(self._customized(document))
        subject = document.get("subject", {}).get("digest")
        digest = digest_of(raw, self.algorithm)
        self.manifests[digest] = Manifest(digest, document["mediaType"], raw, subject)
        descriptor = self._describe(document["mediaType"], digest, raw)
        if subject:
            self.referrers.setdefault(subject, []).append(referrer(document, descriptor))
        return descriptor

    def _customized(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with an unknown member, where the data set has them."""
        if not self.with_custom_fields:
            return document
        return {**document, f"org.example.{random_text()}": random_text()}

    def _describe(self, media_type: str, digest: str, content: bytes) -> Descriptor:
        """A descriptor, with its content where the data set embeds it."""
        descriptor: Descriptor = {"mediaType": media_type, "digest": digest, "size": len(content)}
        if self.with_data and media_type not in {IMAGE_MANIFEST, IMAGE_INDEX}:
            descriptor["data"] = base64_text(content)
        return descriptor


def referrer(document: dict[str, Any], descriptor: Descriptor) -> Descriptor:
    """The descriptor by which a manifest with a subject is to be listed."""
    plain = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
    artifact_type = document.get("artifactType") or document.get("config", {}).get("mediaType")
    if artifact_type:
        plain["artifactType"] = artifact_type
    if document.get("annotations"):
        plain["annotations"] = document["annotations"]
    return plain


def base64_text(content: bytes) -> str:
    """Content for the `data` member of a descriptor."""
    return base64.b64encode(content).decode("ascii")


def one_file_tar(content: bytes) -> bytes:
    """A tar archive of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("file.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def absent(media_type: str, algorithm: str = "sha256") -> Descriptor:
    """A descriptor of content that does not exist."""
    content = random_text().encode()
    return {"mediaType": media_type, "digest": digest_of(content, algorithm), "size": len(content)}


def _annotations(text: str) -> dict[str, str]:
    """Annotations that no other manifest has."""
    return {"org.example.note": text, f"org.example.{random_text()}": random_text()}


def _image(made: DataSet) -> None:
    """An image of two gzip layers."""
    made.tag("image", made.image())


def _image_uncompressed(made: DataSet) -> None:
    """An image whose layers are plain tar."""
    made.tag("uncompressed", made.image(layer_type=LAYER_TAR))


def _large_manifest(made: DataSet) -> None:
    """An image with almost four megabytes of annotations."""
    annotations = {f"org.example.large.{number}": "x" * 10_000 for number in range(LARGE_MANIFEST_BYTES // 10_000)}
    made.tag("large", made.image(annotations=annotations))


def _index(made: DataSet) -> None:
    """An index over two platforms."""
    made.tag("index", made.image_index())


def _nested_index(made: DataSet) -> None:
    """An index over two indexes."""
    made.tag("nested", made.index([made.image_index(), made.image_index()]))


def _empty_index(made: DataSet) -> None:
    """An index over nothing."""
    made.tag("empty", made.index([], annotations=_annotations("no children")))


def _artifact(made: DataSet) -> None:
    """An artifact with its type and one layer."""
    made.tag("artifact", made.artifact())


def _artifact_index(made: DataSet) -> None:
    """An index with an artifact type."""
    made.tag("artifacts", made.index([made.artifact(), made.artifact(SIGNATURE)], artifactType=SBOM))


def _artifact_without_layers(made: DataSet) -> None:
    """An artifact whose only layer is the empty JSON document."""
    empty = made.blob(EMPTY_JSON, b"{}")
    made.tag("bare", made.artifact(layers=[empty], annotations=_annotations("all in the annotations")))


def _artifacts_with_subject(made: DataSet) -> None:
    """An image with three referrers, one of them typed by its config alone."""
    subject = made.image()
    made.tag("subject", subject)
    made.image(subject=subject)
    made.tag("sbom", made.artifact(SBOM, subject=subject, annotations=_annotations("sbom")))
    made.tag("signature", made.artifact(SIGNATURE, subject=subject, annotations=_annotations("signature")))


def _index_with_subject(made: DataSet) -> None:
    """An index with two referrers that are indexes, one without a type."""
    subject = made.image_index()
    made.tag("subject", subject)
    children = [made.artifact(), made.artifact()]
    typed = made.index(children, artifactType=SBOM, subject=subject, annotations=_annotations("typed"))
    made.tag("referrer", typed)
    made.index(children, subject=subject, annotations=_annotations("untyped"))


def _missing_subject(made: DataSet) -> None:
    """A referrer whose subject does not exist."""
    subject = absent(IMAGE_MANIFEST, made.algorithm)
    made.tag("early", made.artifact(SBOM, subject=subject, annotations=_annotations("before its subject")))


def _data_field(made: DataSet) -> None:
    """An image whose descriptors embed their content."""
    made.with_data = True
    made.tag("data", made.image())


def _non_distributable_layers(made: DataSet) -> None:
    """An image with two layers that lie elsewhere."""
    layer, diff_id = made.layer()
    foreign = [absent(LAYER_NONDISTRIBUTABLE_GZIP, made.algorithm), absent(LAYER_NONDISTRIBUTABLE, made.algorithm)]
    for descriptor in foreign:
        descriptor["urls"] = ["https://layers.example.com/" + descriptor["digest"]]
    config = made.config(PLATFORMS[0], [*(descriptor["digest"] for descriptor in foreign), diff_id])
    made.tag("foreign", made.manifest({"config": config, "layers": [*foreign, layer]}))


def _custom_fields(made: DataSet) -> None:
    """An index and images with members that no specification knows."""
    made.with_custom_fields = True
    made.tag("custom", made.image_index())


def _no_layers(made: DataSet) -> None:
    """An image without layers."""
    made.tag("bare", made.image(layers=0))


def _sparse(made: DataSet) -> None:
    """An image that lacks a layer, and an index that lacks a child."""
    lacking, diff_id = made.layer()
    kept, kept_diff_id = made.layer()
    config = made.config(PLATFORMS[0], [diff_id, kept_diff_id])
    image = made.manifest({"config": config, "layers": [lacking, kept]})
    made.withhold(lacking)
    made.tag("sparse-image", image)
    index = made.index([made.image(), absent(IMAGE_MANIFEST, made.algorithm)])
    made.tag("sparse-index", index)
    made.sparse |= {image["digest"], index["digest"]}


def _tag_params(made: DataSet) -> None:
    """An index whose tags, children included, come as parameters."""
    made.tags_by_parameter = True
    index = made.image_index()
    for number, digest in enumerate(list(made.manifests)):
        made.tags[f"parameter-{number}"] = digest
    made.tag("parameter-last", index)


SETS: dict[str, Callable[[DataSet], None]] = {
    "image": _image,
    "image-uncompressed": _image_uncompressed,
    "large-manifest": _large_manifest,
    "index": _index,
    "nested-index": _nested_index,
    "empty-index": _empty_index,
    "artifact": _artifact,
    "artifact-index": _artifact_index,
    "artifact-without-layers": _artifact_without_layers,
    "artifacts-with-subject": _artifacts_with_subject,
    "index-with-subject": _index_with_subject,
    "missing-subject": _missing_subject,
    "data-field": _data_field,
    "non-distributable-layers": _non_distributable_layers,
    "custom-fields": _custom_fields,
    "no-layers": _no_layers,
    "sparse": _sparse,
    "tag-params": _tag_params,
}


def make(name: str, algorithm: str) -> DataSet:
    """A new instance of the data set of that name, with every digest by that algorithm."""
    made = DataSet(algorithm)
    made.tags_by_parameter = algorithm != "sha256"
    SETS[name](made)
    return made

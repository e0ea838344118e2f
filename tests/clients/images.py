"""OCI image layouts written by code, so that a round trip can be compared byte for byte."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import random
import subprocess
import tarfile
from typing import Any

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"
ANY_MANIFEST = f"{IMAGE_MANIFEST}, {IMAGE_INDEX}, {DOCKER_MANIFEST}, {DOCKER_MANIFEST_LIST}"
# More than blobs that are streamed because a redirect would cost more than it spares.
NOISE_BYTES = 300_000
REFERENCE_NAME = "org.opencontainers.image.ref.name"

Descriptor = dict[str, Any]


def digest_of(content: bytes) -> str:
    """The sha256 digest of these bytes as it is written on the wire."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def render(document: object) -> bytes:
    """JSON with unusual spacing: a registry that writes it anew is caught by the digest."""
    return json.dumps(document, indent=3, separators=(" ,", " : ")).encode()


def tar(files: dict[str, bytes], *, executable: tuple[str, ...] = ()) -> bytes:
    """An uncompressed tar of these files, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {str(parent) for name in files for parent in pathlib.PurePosixPath(name).parents} - {"."}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name in executable else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def compress(content: bytes, compression: str) -> bytes:
    """The bytes as they are, or through gzip or zstd."""
    if compression == "gzip":
        return gzip.compress(content, mtime=0)
    if compression == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=content, capture_output=True, check=True, timeout=60).stdout
    return content


@dataclasses.dataclass(frozen=True)
class Image:
    """What one image is made of: tars, how they are compressed, and where it runs."""

    layers: tuple[bytes, ...]
    compression: str = "gzip"
    architecture: str = "amd64"
    command: tuple[str, ...] = ("/bin/busybox", "cat", "/etc/message")


def small_image(message: str, *, compression: str = "gzip", architecture: str = "amd64") -> Image:
    """Two layers that only this message makes: nothing runs, everything can be compared.

    The first stays so large, however it is compressed, that an object store sends it to clients by itself.
    """
    noise = random.Random(message).randbytes(NOISE_BYTES)
    text = message.encode() * 2_000
    layers = (
        tar({"etc/message": f"{message}\n".encode(), "usr/share/noise": noise, "usr/share/text": text}),
        tar({"etc/second": f"second layer of {message} for {architecture}\n".encode()}),
    )
    return Image(layers, compression, architecture)


def running_image(message: str, *, compression: str = "gzip") -> Image:
    """An image that prints the message when it is run: Debian's static busybox and one file."""
    busybox = pathlib.Path("/bin/busybox").read_bytes()
    layers = (
        tar({"bin/busybox": busybox}, executable=("bin/busybox",)),
        tar({"etc/message": f"{message}\n".encode(), "etc/passwd": b"root:x:0:0:root:/:/bin/busybox\n"}),
    )
    return Image(layers, compression)


class Layout:
    """One OCI image layout folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.index = folder / "index.json"
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        if not self.index.exists():
            self.index.write_text('{"schemaVersion": 2, "manifests": []}')

    def put(self, content: bytes, media_type: str) -> Descriptor:
        """Write one blob and answer its descriptor."""
        digest = digest_of(content)
        self.path(digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def path(self, digest: str) -> pathlib.Path:
        """Where the blob of this digest lies."""
        return self.folder / "blobs" / digest.replace(":", "/")

    def read(self, digest: str) -> bytes:
        """The bytes of one blob."""
        return self.path(digest).read_bytes()

    def tag(self, name: str, descriptor: Descriptor) -> Descriptor:
        """Point a tag of this layout at a manifest."""
        document = json.loads(self.index.read_text())
        others = [entry for entry in document["manifests"] if entry.get("annotations", {}).get(REFERENCE_NAME) != name]
        document["manifests"] = [*others, {**descriptor, "annotations": {REFERENCE_NAME: name}}]
        self.index.write_text(json.dumps(document))
        return descriptor

    def resolve(self, name: str) -> str:
        """The digest that a tag of this layout points at."""
        entries = json.loads(self.index.read_text())["manifests"]
        found = [entry for entry in entries if entry.get("annotations", {}).get(REFERENCE_NAME) == name]
        digest: str = (found or entries)[0]["digest"]
        return digest

    def add_image(self, image: Image, tag: str = "") -> Descriptor:
        """Write an image with its config and layers; answer the descriptor of its manifest."""
        suffix = {"gzip": "+gzip", "zstd": "+zstd", "": ""}[image.compression]
        layers = [self.put(compress(layer, image.compression), LAYER + suffix) for layer in image.layers]
        config = {
            "created": "2026-01-01T00:00:00Z",
            "architecture": image.architecture,
            "os": "linux",
            "config": {"Cmd": list(image.command), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in image.layers]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "tests"} for _ in image.layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": self.put(render(config), IMAGE_CONFIG),
            "layers": layers,
        }
        descriptor = self.put(render(manifest), IMAGE_MANIFEST)
        return self.tag(tag, descriptor) if tag else descriptor

    def add_index(self, images: list[Image], tag: str) -> Descriptor:
        """Write an index of these images, one a platform."""
        manifests = [
            {**self.add_image(image), "platform": {"os": "linux", "architecture": image.architecture}}
            for image in images
        ]
        document = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}
        return self.tag(tag, self.put(render(document), IMAGE_INDEX))

    def add_artifact(self, tag: str, artifact_type: str, files: dict[str, bytes]) -> Descriptor:
        """Write an artifact: the empty config, and one titled layer a file."""
        layers = [
            {**self.put(content, "text/plain"), "annotations": {"org.opencontainers.image.title": name}}
            for name, content in files.items()
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "artifactType": artifact_type,
            "config": self.put(b"{}", EMPTY_JSON),
            "layers": layers,
        }
        return self.tag(tag, self.put(render(manifest), IMAGE_MANIFEST))

    def closure(self, digest: str) -> dict[str, bytes]:
        """Everything that this manifest reaches, itself included: digest to bytes."""
        content = self.read(digest)
        found = {digest: content}
        document = json.loads(content)
        for entry in document.get("manifests", []):
            found |= self.closure(entry["digest"])
        for entry in [document.get("config"), *document.get("layers", [])]:
            if entry:
                found[entry["digest"]] = self.read(entry["digest"])
        return found


def require_same(left: tuple[Layout, str], right: tuple[Layout, str]) -> None:
    """Assert that two tags of two layouts are the same manifest and the same bytes below it."""
    wanted, got = left[0].resolve(left[1]), right[0].resolve(right[1])
    assert got == wanted
    contents = right[0].closure(got)
    assert contents == left[0].closure(wanted)
    assert all(digest_of(content) == digest for digest, content in contents.items())

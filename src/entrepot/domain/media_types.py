"""Media types, named for what they are."""

from typing import Final

IMAGE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY_JSON: Final = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

IMAGES: Final = frozenset({IMAGE_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({IMAGE_INDEX, DOCKER_MANIFEST_LIST})
MANIFESTS: Final = IMAGES | INDEXES
DOCKER: Final = frozenset({DOCKER_MANIFEST, DOCKER_MANIFEST_LIST})
SCHEMA1: Final = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})

# Layers that a registry need not hold: their bytes come from the descriptor's urls.
# image-spec layer.md, "Non-Distributable Layers"; Docker calls them foreign.
NON_DISTRIBUTABLE: Final = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)


def without_parameters(value: str) -> str:
    """A media type as it stands in a Content-Type header, without `; charset=...`."""
    return value.partition(";")[0].strip().lower()

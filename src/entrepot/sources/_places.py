"""Under which keys bytes may lie in a folder or bucket, best first."""

from __future__ import annotations

from entrepot.ports.source import Wanted


def places_of(wanted: Wanted) -> list[str]:
    """Keys by digest: an OCI image layout, its blobs folder alone, CNCF distribution's storage."""
    algorithm, _, digits = str(wanted.digest).partition(":")
    return [
        f"blobs/{algorithm}/{digits}",
        f"{algorithm}/{digits}",
        f"docker/registry/v2/blobs/{algorithm}/{digits[:2]}/{digits}/data",
    ]

"""podman-py at work: push and pull. Run with the clients' own Python; answers JSON."""

from __future__ import annotations

import json
import os
import sys

from podman import PodmanClient  # type: ignore[import-not-found]


def main(address: str, name: str, tag: str) -> dict[str, list[str]]:
    """Push an image that podman has, remove it, and pull it back."""
    credentials = {"username": os.environ["REGISTRY_USER"], "password": os.environ["REGISTRY_PASSWORD"]}
    with PodmanClient(base_url=address, timeout=60) as client:
        said = client.images.push(name, tag=tag, auth_config=credentials, tlsVerify=False)
        client.images.remove(f"{name}:{tag}", force=True)
        image = client.images.pull(name, tag=tag, auth_config=credentials, tls_verify=False)
        return {"tags": image.tags, "said": str(said).splitlines()}


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)

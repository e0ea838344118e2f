"""python-dxf at work: blobs, aliases, mounts. Run with the clients' own Python; answers JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import requests
from dxf import DXF, DXFBase  # type: ignore[import-not-found]


def authenticate(client: DXFBase, response: requests.Response) -> None:
    """Answer a challenge with the credentials of the environment."""
    client.authenticate(os.environ["REGISTRY_USER"], os.environ["REGISTRY_PASSWORD"], response=response)


def main(repository: str, action: str, *rest: str) -> Any:
    """Do one thing and answer what came of it."""
    client = DXF(os.environ["REGISTRY"], repository, authenticate, tlsverify=os.environ["REGISTRY_CA"])
    if action == "push":
        digests = [client.push_blob(file) for file in rest[1:]]
        client.set_alias(rest[0], *digests)
        return digests
    if action == "pull":
        return [b"".join(client.pull_blob(digest)).decode() for digest in client.get_alias(rest[0])]
    if action == "mount":
        return client.mount_blob(rest[0], rest[1])
    if action == "delete":
        return client.del_alias(rest[0])
    if action == "repositories":
        return sorted(DXFBase.list_repos(client, batch_size=2))
    return sorted(client.list_aliases(batch_size=1))


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)

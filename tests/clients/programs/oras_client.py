"""oras-py at work: push, pull, tags, delete. Run with the clients' own Python; answers JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from oras.client import OrasClient  # type: ignore[import-not-found]


def client(backend: str) -> OrasClient:
    """A client for the registry that the environment names."""
    secure = os.environ.get("REGISTRY_CA")
    made = OrasClient(
        hostname=os.environ["REGISTRY"],
        insecure=not secure,
        tls_verify=bool(secure),
        auth_backend=backend,
    )
    made.auth.set_basic_auth(os.environ["REGISTRY_USER"], os.environ["REGISTRY_PASSWORD"])
    return made


def main(backend: str, action: str, target: str, *rest: str) -> Any:
    """Do one thing and answer what came of it."""
    oras = client(backend)
    if action == "push":
        answer = oras.push(target=target, files=list(rest), disable_path_validation=True)
        return answer.status_code
    if action == "push-chunked":
        answer = oras.push(
            target=target, files=list(rest), disable_path_validation=True, do_chunked=True, chunk_size=100_000
        )
        return answer.status_code
    if action == "pull":
        return oras.pull(target=target, outdir=rest[0])
    if action == "tags":
        return sorted(oras.get_tags(target))
    if action == "delete":
        return oras.delete_tag(target, rest[0])
    return oras.get_manifest(target)


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)

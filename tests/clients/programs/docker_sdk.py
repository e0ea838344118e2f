"""The Docker SDK for Python at work: log in, push, pull, run. Run with the clients' own Python; answers JSON."""

from __future__ import annotations

import json
import os
import sys

import docker  # type: ignore[import-untyped]


def main(name: str, tag: str) -> dict[str, str]:
    """Push an image that the daemon has, forget it, pull it back and run it."""
    client = docker.from_env(timeout=60)
    registry, user = os.environ["REGISTRY"], os.environ["REGISTRY_USER"]
    client.login(user, os.environ["REGISTRY_PASSWORD"], registry=registry)
    lines = [json.loads(line) for line in client.images.push(name, tag).splitlines()]
    errors = [line["error"] for line in lines if "error" in line]
    if errors:
        raise SystemExit("\n".join(errors))
    digests = [line["aux"]["Digest"] for line in lines if "aux" in line]
    client.images.remove(f"{name}:{tag}", force=True)
    image = client.images.pull(name, tag)
    output = client.containers.run(image, remove=True, network_mode="none")
    return {"digest": digests[-1], "output": output.decode()}


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)

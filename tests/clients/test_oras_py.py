"""oras-py: artifacts of several files, whole and in chunks, with Basic and with Bearer authentication."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.images import IMAGE_MANIFEST
from tests.clients.machine import Machine
from tests.clients.target import Registry, as_environment

pytestmark = pytest.mark.tier_a


def oras(machine: Machine, registry: Registry, backend: str, *words: str) -> Any:
    """Run the oras-py program against a registry and read its answer."""
    machine.environment |= as_environment(registry)
    return json.loads(machine.python("oras_client.py", backend, *words, limit=30))


@pytest.mark.parametrize("backend", ["basic", "token"])
@pytest.mark.parametrize("action", ["push", "push-chunked"])
def test_artifact_round_trip(machine: Machine, registry: Registry, repository: str, backend: str, action: str) -> None:
    """Two files, one of several chunks, come back as they were, whichever way the client authenticates."""
    files = {"note.txt": b"a note\n", "large.bin": bytes(range(256)) * 1_500}
    paths = [f"{machine.write(name, content)}:text/plain" for name, content in files.items()]
    target = f"{registry.host}/{repository}:v1"
    assert oras(machine, registry, backend, action, target, *paths) in (200, 201)

    answer = registry.manifest(repository, "v1")
    assert answer.headers["Content-Type"] == IMAGE_MANIFEST
    assert len(answer.json()["layers"]) == 2
    into = machine.folder("pulled")
    oras(machine, registry, backend, "pull", target, str(into))
    pulled = {path.name: path.read_bytes() for path in into.rglob("*") if path.is_file()}
    assert pulled == files


def test_over_tls(machine: Machine, secure: Registry, repository: str) -> None:
    """The same over TLS, trusting the private authority by `REQUESTS_CA_BUNDLE`."""
    path = machine.write("note.txt", "over tls")
    target = f"{secure.host}/{repository}:v1"
    assert oras(machine, secure, "basic", "push", target, f"{path}:text/plain") in (200, 201)
    layer = secure.manifest(repository, "v1").json()["layers"][0]
    assert secure.blob(repository, layer["digest"]) == b"over tls"


def test_tags_and_delete(machine: Machine, registry: Registry, repository: str) -> None:
    """Tags are listed, and a deleted one is gone."""
    name = f"{registry.host}/{repository}"
    for tag in ("v1", "v2"):
        path = machine.write(f"{tag}.txt", f"content of {tag}")
        oras(machine, registry, "basic", "push", f"{name}:{tag}", f"{path}:text/plain")
    assert oras(machine, registry, "basic", "tags", name) == ["v1", "v2"]
    assert oras(machine, registry, "basic", "delete", name, "v1") is True
    assert oras(machine, registry, "basic", "tags", name) == ["v2"]

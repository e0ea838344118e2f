"""wash, in Rust: the client that sends `Content-Range` with each PATCH."""

from __future__ import annotations

import pytest

from tests.clients.machine import Machine
from tests.clients.target import Registry

pytestmark = pytest.mark.tier_b
# The smallest component: magic number and version of the component model.
COMPONENT = b"\x00asm\x0d\x00\x01\x00"


def test_push_and_pull(machine: Machine, registry: Registry, repository: str) -> None:
    """A component comes back byte for byte."""
    component = machine.write("demo.wasm", COMPONENT)
    reference = f"{registry.host}/{repository}:v1"
    door = ["--insecure", "-u", registry.user, "-p", registry.password]
    machine.run("wash", "oci", "push", *door, reference, component)
    manifest = registry.manifest(repository, "v1").json()
    assert registry.blob(repository, manifest["layers"][0]["digest"]) == COMPONENT
    machine.run("wash", "oci", "pull", *door, reference, machine.home / "pulled.wasm")
    assert (machine.home / "pulled.wasm").read_bytes() == COMPONENT


def test_large_component(machine: Machine, registry: Registry, repository: str) -> None:
    """A component of several chunks is sent in ranges that join, and comes back."""
    # A custom section (id 0) with a name of one byte and six MiB of content.
    content = bytes(range(256)) * (6 * 4096)
    size = _leb128(len(content) + 2)
    component = machine.write("large.wasm", COMPONENT + b"\x00" + size + b"\x01x" + content)
    reference = f"{registry.host}/{repository}:v1"
    door = ["--insecure", "-u", registry.user, "-p", registry.password]
    machine.run("wash", "oci", "push", *door, reference, component)
    manifest = registry.manifest(repository, "v1").json()
    assert registry.blob(repository, manifest["layers"][0]["digest"]) == component.read_bytes()
    machine.run("wash", "oci", "pull", *door, reference, machine.home / "pulled.wasm")
    assert (machine.home / "pulled.wasm").read_bytes() == component.read_bytes()


def test_wrong_password(machine: Machine, registry: Registry, repository: str) -> None:
    """A wrong password is refused and nothing is stored."""
    component = machine.write("demo.wasm", COMPONENT)
    door = ["--insecure", "-u", registry.user, "-p", "wrong"]
    machine.refused("wash", "oci", "push", *door, f"{registry.host}/{repository}:v1", component)
    assert registry.tags(repository) == []


def _leb128(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])

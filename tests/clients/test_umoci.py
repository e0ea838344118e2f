"""umoci: layouts made by it, whose manifests leave out the optional `mediaType` field."""

from __future__ import annotations

import json

import pytest

from tests.clients.images import IMAGE_MANIFEST, Layout, require_same, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, pull_layout, push_layout

pytestmark = pytest.mark.tier_a


def test_manifest_without_media_type(machine: Machine, registry: Registry, repository: str) -> None:
    """A manifest that does not say its media type is taken by its Content-Type and served as it came."""
    folder = machine.home / "umoci"
    machine.run("umoci", "init", "--layout", folder)
    image = f"{folder}:v1"
    machine.run("umoci", "new", "--image", image)
    machine.run("umoci", "insert", "--image", image, machine.write("message", "from umoci"), "/etc/message")
    machine.run("umoci", "config", "--image", image, "--config.cmd", "/bin/true", "--author", "tests")
    layout = Layout(folder)
    digest = layout.resolve("v1")
    assert "mediaType" not in json.loads(layout.read(digest))

    push_layout(machine, registry, layout, "v1", repository)
    registry.require(repository, "v1", layout, digest)
    assert registry.manifest(repository, "v1").headers["Content-Type"] == IMAGE_MANIFEST
    back = Layout(machine.home / "back")
    pull_layout(machine, registry, f"{repository}:v1", back)
    require_same((layout, "v1"), (back, "v1"))


@pytest.mark.root
def test_unpack_and_repack(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """umoci unpacks an image that came from the registry, adds a layer, and the result goes back."""
    layout.add_image(small_image("unpack me"), "v1")
    push_layout(machine, registry, layout, "v1", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, registry, f"{repository}:v1", back)
    bundle = machine.home / "bundle"
    machine.run("umoci", "unpack", "--image", f"{back.folder}:v1", bundle)
    assert (bundle / "rootfs/etc/message").read_text() == "unpack me\n"
    (bundle / "rootfs/etc/third").write_text("added by umoci")
    machine.run("umoci", "repack", "--image", f"{back.folder}:v2", bundle)
    push_layout(machine, registry, back, "v2", repository)
    registry.require(repository, "v2", back, back.resolve("v2"))
    assert len(registry.manifest(repository, "v2").json()["layers"]) == 3

"""Debian's docker-registry as a pull-through cache in front of ours: a client that mirrors everything it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.images import Layout, require_same, small_image
from tests.clients.machine import Machine, ended
from tests.clients.target import Registry, pull_layout, push_layout, wait_until_serving
from tests.support.server import free_port

pytestmark = pytest.mark.tier_a


@pytest.fixture
def proxy(machine: Machine, registry: Registry) -> Iterator[Registry]:
    """The reference registry, which fetches from ours what it does not have."""
    host = f"127.0.0.1:{free_port()}"
    configuration = machine.write(
        "proxy.yml",
        f"version: 0.1\nlog: {{level: warn}}\n"
        f"storage:\n  filesystem: {{rootdirectory: {machine.folder('cache')}}}\n"
        f"http: {{addr: '{host}'}}\n"
        f"proxy:\n  remoteurl: {registry.url}\n  username: {registry.user}\n  password: '{registry.password}'\n",
    )
    # The reference takes every REGISTRY_… variable for one of its settings, skopeo's credentials file too.
    own = Machine(machine.folder("proxy"))
    del own.environment["REGISTRY_AUTH_FILE"]
    process = own.start("docker-registry", "serve", configuration, log=machine.home / "proxy.log")
    with ended(process):
        front = Registry(host, "anybody", "anything")
        wait_until_serving(front)
        yield front


def test_pull_through_the_reference(
    machine: Machine, registry: Registry, proxy: Registry, layout: Layout, repository: str
) -> None:
    """An index and a zstd image pulled through the reference are ours, byte for byte."""
    layout.add_image(small_image("proxied", compression="zstd"), "zstd")
    layout.add_index([small_image("proxied"), small_image("proxied", architecture="arm64")], "multi")
    for tag in ("zstd", "multi"):
        push_layout(machine, registry, layout, tag, repository)
        back = Layout(machine.home / tag)
        pull_layout(machine, proxy, f"{repository}:{tag}", back)
        require_same((layout, tag), (back, tag))


def test_a_moved_tag_is_seen_through_the_reference(
    machine: Machine, registry: Registry, proxy: Registry, layout: Layout, repository: str
) -> None:
    """When a tag moves here, the reference asks again and gives the new manifest."""
    for message in ("before", "after"):
        digest = layout.add_image(small_image(message), "v1")["digest"]
        push_layout(machine, registry, layout, "v1", repository)
        assert proxy.manifest(repository, "v1").headers["Docker-Content-Digest"] == digest
    assert proxy.tags(repository) == ["v1"]
    assert proxy.manifest(repository, "none").status_code == 404

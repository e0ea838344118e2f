"""Clients that few people use, each with habits of its own: charliecloud, occystrap, udocker, regshape."""

from __future__ import annotations

import pytest

from tests.clients.images import Layout, digest_of, running_image, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, push_layout

pytestmark = pytest.mark.tier_c


@pytest.mark.root
def test_charliecloud(machine: Machine, secure: Registry, layout: Layout, repository: str) -> None:
    """ch-image, which speaks TLS only, pulls and pushes."""
    layout.add_image(small_image("charlie"), "v1")
    push_layout(machine, secure, layout, "v1", repository)
    host = secure.at("localhost").host
    machine.environment |= {
        "REQUESTS_CA_BUNDLE": str(secure.ca),
        "CH_IMAGE_USERNAME": secure.user,
        "CH_IMAGE_PASSWORD": secure.password,
        "CH_IMAGE_CACHE": "disabled",
        "CH_IMAGE_STORAGE": str(machine.home / "charlie"),
    }
    machine.run("ch-image", "--auth", "pull", f"{host}/{repository}:v1")
    unpacked = next((machine.home / "charlie/img").glob("*"))
    assert (unpacked / "etc/message").read_text() == "charlie\n"
    machine.run("ch-image", "--auth", "push", f"{host}/{repository}:v1", f"{host}/{repository}:v2")
    assert secure.tags(repository) == ["v1", "v2"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_occystrap(machine: Machine, registry: Registry, layout: Layout, repository: str, compression: str) -> None:
    """Occystrap pushes a tar of `docker save`; its pull looks for the challenge in a spelling that it never has."""
    layout.add_image(small_image("occy"), "v1")
    archive = machine.home / "image.tar"
    machine.run("skopeo", "copy", f"oci:{layout.folder}:v1", f"docker-archive:{archive}:occy:v1")
    who = ["--username", registry.user, "--password", registry.password, "--compression", compression]
    name = f"registry://{registry.host}/{repository}:v1"
    machine.run("occystrap", "--insecure", *who, "process", f"tar://{archive}", name)
    layers = registry.manifest(repository, "v1").json()["layers"]
    assert len(layers) == 2
    for layer in layers:
        registry.blob(repository, layer["digest"])


def test_udocker(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """Udocker logs in and pulls."""
    layout.add_image(running_image("udocker"), "v1")
    push_layout(machine, registry, layout, "v1", repository)
    # Without this it looks for its own tools on the network.
    machine.environment["UDOCKER_TARBALL"] = str(machine.home / "none.tar")
    udocker = ["udocker", "--allow-root", "--insecure"]
    door = f"--registry={registry.url}"
    who = [f"--username={registry.user}", f"--password={registry.password}"]
    machine.run(*udocker, "login", *who, door)
    machine.run(*udocker, "pull", door, f"{repository}:v1")
    assert repository in machine.run(*udocker, "images")


def test_regshape(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """Regshape pings, uploads in chunks, mounts, and lists tags and referrers page by page."""
    digest = layout.add_image(small_image("shape"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", f"{repository}/a")
    regshape = ["regshape", "--insecure"]
    who = ["-u", registry.user, "-p", registry.password]
    machine.run(*regshape, "auth", "login", "-r", registry.host, *who)
    name = f"{registry.host}/{repository}"
    content = bytes(range(256)) * 1_000
    file = machine.write("blob", content)
    blob = ["-d", digest_of(content)]
    machine.run(*regshape, "blob", "upload", "-r", f"{name}/a", "-f", file, *blob, "--chunked")
    machine.run(*regshape, "blob", "mount", "-r", f"{name}/b", *blob, "--from-repo", f"{repository}/a")
    assert registry.blob(f"{repository}/b", digest_of(content)) == content
    assert machine.run(*regshape, "tag", "list", "-i", f"{name}/a").split() == ["v1"]
    assert machine.run(*regshape, "manifest", "get", "-i", f"{name}/a:v1")
    machine.run(*regshape, "referrer", "list", "-i", f"{name}/a@{digest}", "--all", "--json")

"""buildah: images built, pushed compressed in several ways, indexes, and a build cache in the registry."""

from __future__ import annotations

import json
import pathlib
import uuid

import pytest

from tests.clients.images import DOCKER_MANIFEST_LIST, IMAGE_INDEX, Layout, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, flags, log_in, push_layout, tls_flags

pytestmark = [pytest.mark.tier_a, pytest.mark.root]


def buildah(machine: Machine, *words: str, loud: bool = False) -> str:
    """Run buildah with storage of this machine alone."""
    storage = ["--root", str(machine.folder("storage")), "--runroot", str(machine.folder("storage-run"))]
    command = ["buildah", *storage, "--storage-driver", "vfs", *words]
    return (machine.run_loud if loud else machine.run)(*command)


def build(machine: Machine, name: str, *commit: str) -> None:
    """Build a one-layer image from nothing."""
    container = buildah(machine, "from", "scratch").strip()
    # Never the same layer twice: buildah remembers, for the whole machine, in which compressions it has seen one, and
    # pushes that instead of compressing it as it is told.
    message = machine.write("message", f"{name} by buildah {uuid.uuid4()}\n")
    buildah(machine, "copy", container, str(message), "/etc/message")
    buildah(machine, "config", "--cmd", "/etc/message", container)
    buildah(machine, "commit", *commit, container, name)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_build_push_pull(machine: Machine, either: Registry, repository: str, compression: str) -> None:
    """An image built here comes back with the same configuration and files."""
    build(machine, "built")
    name = f"{either.host}/{repository}:v1"
    shape = ["--compression-format", compression, "--digestfile", str(machine.home / "digest")]
    buildah(machine, "push", *flags(either), *shape, "built", f"docker://{name}")
    layer = either.manifest(repository, "v1").json()["layers"][0]
    assert layer["mediaType"].endswith(compression)
    assert either.blob(repository, layer["digest"])[:2] == (b"\x1f\x8b" if compression == "gzip" else b"\x28\xb5")
    stored = either.manifest(repository, "v1").headers["Docker-Content-Digest"]
    assert (machine.home / "digest").read_text() == stored

    image = buildah(machine, "pull", *flags(either), f"docker://{name}").strip()
    container = buildah(machine, "from", image).strip()
    folder = buildah(machine, "mount", container).strip()
    assert pathlib.Path(folder, "etc/message").read_text() == (machine.home / "message").read_text()
    buildah(machine, "umount", container)


@pytest.mark.parametrize(("form", "media_type"), [("oci", IMAGE_INDEX), ("v2s2", DOCKER_MANIFEST_LIST)])
def test_manifest_push_all(machine: Machine, registry: Registry, repository: str, form: str, media_type: str) -> None:
    """`manifest push --all` sends an index and both of its images."""
    buildah(machine, "manifest", "create", "many")
    for architecture in ("amd64", "arm64"):
        container = buildah(machine, "from", "--arch", architecture, "scratch").strip()
        buildah(machine, "copy", container, str(machine.write("message", architecture)), "/etc/message")
        buildah(machine, "commit", "--manifest", "many", container)
    name = f"docker://{registry.host}/{repository}:v1"
    buildah(machine, "manifest", "push", "--all", "--format", form, *flags(registry), "many", name)
    answer = registry.manifest(repository, "v1")
    assert answer.headers["Content-Type"] == media_type
    platforms = {entry["platform"]["architecture"]: entry["digest"] for entry in answer.json()["manifests"]}
    assert sorted(platforms) == ["amd64", "arm64"]
    for digest in platforms.values():
        manifest = registry.manifest(repository, digest).json()
        config = json.loads(registry.blob(repository, manifest["config"]["digest"]))
        assert platforms[config["architecture"]] == digest


def test_build_from_an_image_of_the_registry(
    machine: Machine, registry: Registry, layout: Layout, repository: str
) -> None:
    """`FROM` the registry, one layer more: the base's layers are mounted or found, not sent again."""
    layout.add_image(small_image("base"), "v1")
    push_layout(machine, registry, layout, "v1", f"{repository}/base")
    log_in(machine, registry)
    machine.write("context/note", "one more layer")
    machine.write("context/Containerfile", f"FROM {registry.host}/{repository}/base:v1\nCOPY note /etc/note\n")
    context = str(machine.home / "context")
    buildah(machine, "bud", "--isolation", "chroot", *tls_flags(registry), "-t", "derived", context)
    buildah(machine, "push", *tls_flags(registry), "derived", f"docker://{registry.host}/{repository}/derived:v1")
    layers = [layer["digest"] for layer in registry.manifest(f"{repository}/derived", "v1").json()["layers"]]
    base = [layer["digest"] for layer in registry.manifest(f"{repository}/base", "v1").json()["layers"]]
    assert layers[:-1] == base


def test_build_cache_in_the_registry(machine: Machine, registry: Registry, repository: str) -> None:
    """A build on an empty machine takes its steps from the cache that another pushed."""
    log_in(machine, registry)
    cache = f"{registry.host}/{repository}/cache"
    machine.write("context/note", "cached")
    machine.write("context/Containerfile", "FROM scratch\nCOPY note /note\nLABEL step=two\n")
    words = ["bud", "--isolation", "chroot", "--layers", *tls_flags(registry)]
    context = str(machine.home / "context")
    first = buildah(machine, *words, "--cache-to", cache, "--cache-from", cache, "-t", "one", context, loud=True)
    assert "Pushing cache" in first
    other = Machine(machine.folder("other"))
    other.environment["REGISTRY_AUTH_FILE"] = machine.environment["REGISTRY_AUTH_FILE"]
    second = buildah(other, *words, "--cache-from", cache, "-t", "two", context, loud=True)
    assert "Cache pulled from remote" in second


def test_login_and_wrong_password(machine: Machine, either: Registry) -> None:
    """`buildah login` accepts the right password and refuses another."""
    who = ["-u", either.user, "-p"]
    assert "Login Succeeded" in buildah(machine, "login", *tls_flags(either), *who, either.password, either.host)
    machine.refused("buildah", "login", *tls_flags(either), *who, "wrong", either.host)

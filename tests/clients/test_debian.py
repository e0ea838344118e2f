"""A real root file system: Debian's minimal base through every runtime, and through the scanners."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.clients.daemons import podman_storage
from tests.clients.images import Image, Layout, require_same
from tests.clients.machine import STORE, Machine, need_file
from tests.clients.target import Registry, flags, pull_layout, push_layout

pytestmark = [pytest.mark.tier_c, pytest.mark.root]
SHOW = ["/bin/sh", "-c", "cat /etc/debian_version && dpkg -l base-files"]


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A layout with Debian's minimal base, as gzip and as zstd."""
    content = need_file(STORE / "debian-rootfs.tar", "c").read_bytes()
    layout = Layout(tmp_path_factory.mktemp("debian") / "layout")
    for compression in ("gzip", "zstd"):
        layout.add_image(Image((content,), compression, command=("/bin/bash",)), compression)
    return layout


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_round_trip(machine: Machine, either: Registry, debian: Layout, repository: str, compression: str) -> None:
    """The whole file system comes back byte for byte, and a second push moves nothing."""
    for _ in range(2):
        push_layout(machine, either, debian, compression, repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, either, f"{repository}:{compression}", back)
    require_same((debian, compression), (back, compression))


def test_docker(docker: Machine, registry: Registry, debian: Layout, repository: str) -> None:
    """Docker pulls and runs it, and pushes an image that it imported itself."""
    push_layout(docker, registry, debian, "gzip", repository)
    docker.run("docker", "login", "-u", registry.user, "--password-stdin", registry.host, stdin=registry.password)
    name = f"{registry.host}/{repository}"
    docker.run("docker", "pull", f"{name}:gzip", limit=120)
    said = docker.run("docker", "run", "--rm", "--network", "none", f"{name}:gzip", *SHOW)
    assert "Debian base system miscellaneous files" in said
    docker.run("docker", "import", STORE / "debian-rootfs.tar", f"{name}:imported", limit=120)
    docker.run("docker", "push", f"{name}:imported", limit=200)
    layer = registry.manifest(repository, "imported").json()["layers"][0]
    assert len(registry.blob(repository, layer["digest"])) == layer["size"]


def test_podman(machine: Machine, registry: Registry, debian: Layout, repository: str) -> None:
    """Podman pulls the zstd image and runs it."""
    push_layout(machine, registry, debian, "zstd", repository)
    name = f"{registry.host}/{repository}:zstd"
    podman = ["podman", *podman_storage(machine)]
    machine.run(*podman, "pull", *flags(registry), name, limit=120)
    said = machine.run(*podman, "run", "--rm", "--network", "none", name, *SHOW)
    assert "Debian base system miscellaneous files" in said


def test_containerd(
    machine: Machine, containerd_socket: pathlib.Path, registry: Registry, debian: Layout, repository: str
) -> None:
    """containerd pulls the zstd image and runs it."""
    push_layout(machine, registry, debian, "zstd", repository)
    name = f"{registry.host}/{repository}:zstd"
    ctr = ["ctr", "-a", str(containerd_socket), "-n", "debian"]
    machine.run(*ctr, "images", "pull", "--plain-http", "--user", registry.credentials, name, limit=120)
    assert "Debian base system miscellaneous files" in machine.run(*ctr, "run", "--rm", name, "one", *SHOW)


def test_syft(machine: Machine, registry: Registry, debian: Layout, repository: str) -> None:
    """Syft reads the packages straight from the registry."""
    push_layout(machine, registry, debian, "gzip", repository)
    machine.environment |= {
        "SYFT_CHECK_FOR_APP_UPDATE": "false",
        "SYFT_REGISTRY_INSECURE_USE_HTTP": "true",
        "SYFT_REGISTRY_AUTH_AUTHORITY": registry.host,
        "SYFT_REGISTRY_AUTH_USERNAME": registry.user,
        "SYFT_REGISTRY_AUTH_PASSWORD": registry.password,
    }
    document = machine.home / "sbom.json"
    machine.run("syft", "scan", f"registry:{registry.host}/{repository}:gzip", "-o", f"spdx-json={document}", limit=120)
    names = {package["name"] for package in json.loads(document.read_text())["packages"]}
    assert {"base-files", "dpkg", "apt"} <= names


def test_trivy(machine: Machine, registry: Registry, debian: Layout, repository: str) -> None:
    """Trivy reads the packages straight from the registry."""
    push_layout(machine, registry, debian, "gzip", repository)
    machine.environment |= {"TRIVY_USERNAME": registry.user, "TRIVY_PASSWORD": registry.password}
    words = ["image", "--skip-db-update", "--offline-scan", "--insecure", "--format", "cyclonedx", "--output"]
    document = machine.home / "sbom.json"
    machine.run("trivy", *words, document, f"{registry.host}/{repository}:gzip", limit=120)
    names = {component["name"] for component in json.loads(document.read_text())["components"]}
    assert {"base-files", "dpkg", "apt"} <= names

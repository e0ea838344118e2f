"""containerd through ctr: its own token flow, hosts.toml with a private authority, mirrors, and running images."""

from __future__ import annotations

import pathlib
import uuid

import pytest

from tests.clients.images import Layout, running_image, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, push_layout

pytestmark = [pytest.mark.tier_b, pytest.mark.root]


class Ctr:
    """ctr in a containerd namespace of this test."""

    def __init__(self, machine: Machine, socket: pathlib.Path, registry: Registry) -> None:
        self.machine = machine
        self.registry = registry
        self.base = ["ctr", "-a", str(socket), "-n", uuid.uuid4().hex]
        self.hosts = machine.folder("certs.d")

    def run(self, *words: str) -> str:
        """Any ctr command."""
        return self.machine.run(*self.base, *words)

    def door(self, user: str = "") -> list[str]:
        """The flags for this registry and user; TLS comes from the hosts folder."""
        access = ["--hosts-dir", str(self.hosts)] if self.registry.ca else ["--plain-http"]
        return [*access, "--user", user or self.registry.credentials]

    def configure(self, host: str, content: str) -> None:
        """Write a hosts.toml as a node's administrator would."""
        self.machine.write(f"certs.d/{host}/hosts.toml", content)

    def forget(self, *names: str) -> None:
        """Remove images and what only they held."""
        self.run("images", "rm", "--sync", *names)


@pytest.fixture
def ctr(machine: Machine, containerd_socket: pathlib.Path, registry: Registry) -> Ctr:
    """ctr for the registry over plain HTTP."""
    return Ctr(machine, containerd_socket, registry)


@pytest.fixture
def secure_ctr(machine: Machine, containerd_socket: pathlib.Path, secure: Registry) -> Ctr:
    """ctr for the registry over TLS, trusting the private authority by hosts.toml."""
    ctr = Ctr(machine, containerd_socket, secure)
    ctr.configure(secure.host, f'server = "{secure.url}"\n[host."{secure.url}"]\nca = "{secure.ca}"\n')
    return ctr


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_pull_and_run(ctr: Ctr, layout: Layout, repository: str, compression: str) -> None:
    """An image with gzip or with zstd layers is pulled and runs."""
    layout.add_image(running_image(repository, compression=compression), "v1")
    push_layout(ctr.machine, ctr.registry, layout, "v1", repository)
    name = f"{ctr.registry.host}/{repository}:v1"
    ctr.run("images", "pull", *ctr.door(), name)
    assert ctr.run("run", "--rm", name, "one") == f"{repository}\n"
    ctr.forget(name)


def test_push_all_platforms_over_tls(secure_ctr: Ctr, layout: Layout, repository: str) -> None:
    """An index goes in and out through containerd unchanged, over TLS."""
    platforms = [small_image("pushed"), small_image("pushed", architecture="arm64", compression="zstd")]
    digest = layout.add_index(platforms, "v1")["digest"]
    push_layout(secure_ctr.machine, secure_ctr.registry, layout, "v1", f"{repository}/from")
    source, target = (f"{secure_ctr.registry.host}/{repository}/{end}:v1" for end in ("from", "to"))
    secure_ctr.run("images", "pull", "--all-platforms", *secure_ctr.door(), source)
    secure_ctr.run("images", "tag", source, target)
    secure_ctr.run("images", "push", *secure_ctr.door(), target)
    secure_ctr.registry.require(f"{repository}/to", "v1", layout, digest)
    secure_ctr.forget(source, target)


def test_push_again(ctr: Ctr, layout: Layout, repository: str) -> None:
    """The same image under the same and under another tag is accepted again."""
    digest = layout.add_image(small_image("again"), "v1")["digest"]
    push_layout(ctr.machine, ctr.registry, layout, "v1", repository)
    first, second = (f"{ctr.registry.host}/{repository}:{tag}" for tag in ("v1", "v2"))
    ctr.run("images", "pull", *ctr.door(), first)
    ctr.run("images", "tag", first, second)
    for name in (first, second, second):
        ctr.run("images", "push", *ctr.door(), name)
    ctr.registry.require(repository, "v2", layout, digest)
    ctr.forget(first, second)


def test_pull_by_digest(ctr: Ctr, layout: Layout, repository: str) -> None:
    """containerd pulls `name@sha256:…`."""
    digest = layout.add_image(small_image("digest"), "v1")["digest"]
    push_layout(ctr.machine, ctr.registry, layout, "v1", repository)
    name = f"{ctr.registry.host}/{repository}@{digest}"
    ctr.run("images", "pull", *ctr.door(), name)
    assert digest in ctr.run("images", "ls")
    ctr.forget(name)


def test_wrong_password_and_missing_tag(ctr: Ctr, layout: Layout, repository: str) -> None:
    """A wrong password and a missing tag are both refused, and told apart."""
    layout.add_image(small_image("refused"), "v1")
    push_layout(ctr.machine, ctr.registry, layout, "v1", repository)
    name = f"{ctr.registry.host}/{repository}"
    pull = [*ctr.base, "images", "pull"]
    said = ctr.machine.refused(*pull, *ctr.door(f"{ctr.registry.user}:wrong"), f"{name}:v1")
    assert "401" in said or "unauthorized" in said.lower() or "authorization failed" in said
    assert "not found" in ctr.machine.refused(*pull, *ctr.door(), f"{name}:none")


def test_mirror_with_a_path(ctr: Ctr, layout: Layout, repository: str) -> None:
    """A mirror of another registry's names, pointed at a hosted prefix: the `?ns=` that containerd adds is ignored."""
    layout.add_image(running_image(repository), "v1")
    push_layout(ctr.machine, ctr.registry, layout, "v1", f"{repository}/library/app")
    prefix = f"{ctr.registry.url}/v2/{repository}"
    mirror = f'[host."{prefix}"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n'
    ctr.configure("mirrored.test", f'server = "http://127.0.0.1:1"\n{mirror}')
    name = "mirrored.test/library/app:v1"
    ctr.run("images", "pull", "--hosts-dir", str(ctr.hosts), "--user", ctr.registry.credentials, name)
    assert ctr.run("run", "--rm", name, "one") == f"{repository}\n"
    ctr.forget(name)


def test_unknown_authority_is_refused(machine: Machine, containerd_socket: pathlib.Path, secure: Registry) -> None:
    """Without the private authority in hosts.toml containerd refuses the server."""
    ctr = Ctr(machine, containerd_socket, secure)
    ctr.configure(secure.host, f'server = "{secure.url}"\n[host."{secure.url}"]\n')
    name = f"{secure.host}/clients/none:v1"
    said = machine.refused(*ctr.base, "images", "pull", *ctr.door(), name)
    assert "certificate signed by unknown authority" in said

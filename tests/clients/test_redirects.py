"""Real clients that are sent to the object store for large blobs, and clients that cannot reach it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.authority import Authority
from tests.clients.daemons import podman_storage
from tests.clients.images import Image, Layout, require_same, small_image, tar
from tests.clients.machine import Machine, ended
from tests.clients.netns import Link, enter, linked_namespace
from tests.clients.target import (
    Registry,
    as_environment,
    flags,
    pull_layout,
    push_layout,
    wait_until_serving,
)
from tests.clients.test_containerd import Ctr
from tests.support.engines import Engines
from tests.support.seaweedfs import PUBLIC_HOST
from tests.support.server import ADMIN_PASSWORD, Server, free_port

LARGE_BYTES = 700_000
LEAST_BYTES = 256 << 10
LOG_SECONDS = 10
FAR_NAME = "registry.test"


@dataclasses.dataclass(frozen=True)
class Redirecting:
    """A registry over an object store, and the log of its requests."""

    registry: Registry
    server: Server

    def require_redirects(self, repository: str, agent: str = "") -> None:
        """Assert that pulls of blobs of a repository were redirected, by clients that called themselves so."""
        lines = self._lines(repository, 307)
        assert lines
        assert all(agent in line["agent"] for line in lines), lines

    def require_streamed(self, repository: str) -> None:
        """Assert that large blobs of a repository were pulled, and none by a redirect."""
        assert self._lines(repository, 200, LEAST_BYTES)
        assert not self._lines(repository, 307, is_patient=False)

    def _lines(self, repository: str, status: int, least: int = 0, *, is_patient: bool = True) -> list[dict[str, Any]]:
        limit = time.monotonic() + (LOG_SECONDS if is_patient else 0)
        while True:
            found = [json.loads(line) for line in self.server.output().splitlines() if line.startswith("{")]
            asked = [line for line in found if line.get("path", "").startswith(f"/v2/{repository}/blobs/sha256:")]
            pulls = [line for line in asked if (line["method"], line["status"]) == ("GET", status)]
            lines = [line for line in pulls if line["sent"] >= least]
            # The log is written a few times a second.
            if lines or time.monotonic() > limit:
                return lines
            time.sleep(0.1)


def serve(folder: pathlib.Path, behind: dict[str, str], **settings: str) -> Server:
    """A server over a fresh place of the store, which clients know by another name than the registry."""
    environment = {f"ENTREPOT_{name.upper()}": value for name, value in settings.items()}
    return Server(folder / "data", environment=behind | environment)


@pytest.fixture(scope="module")
def stored(request: pytest.FixtureRequest) -> Engines:
    """Whatever the others are over, here the store is one that clients can be sent to."""
    return Engines(request.config.getoption("--database"), "s3", request.getfixturevalue)


@pytest.fixture(scope="module")
def redirecting(tmp_path_factory: pytest.TempPathFactory, stored: Engines) -> Iterator[Redirecting]:
    """Everybody is redirected."""
    with serve(tmp_path_factory.mktemp("redirecting"), stored.redirecting()) as server:
        yield Redirecting(Registry(server.host, "admin", ADMIN_PASSWORD), server)


def large_image() -> Image:
    """A layer that stays large when it is compressed, and a small one."""
    return Image((tar({"usr/share/noise": os.urandom(LARGE_BYTES)}), tar({"etc/message": b"small\n"})))


@pytest.fixture
def pushed(machine: Machine, redirecting: Redirecting, layout: Layout, repository: str) -> str:
    """`repository:v1`, pushed by skopeo out of the layout."""
    layout.add_image(large_image(), "v1")
    push_layout(machine, redirecting.registry, layout, "v1", repository)
    return f"{repository}:v1"


@pytest.fixture(params=["server", "secure_server"])
def door(request: pytest.FixtureRequest, authority: Authority) -> Redirecting:
    """The servers of all other tests, one without TLS and one with it."""
    server: Server = request.getfixturevalue(request.param)
    return Redirecting(
        Registry(server.host, "admin", ADMIN_PASSWORD, authority.ca if server.is_secure else None), server
    )


@pytest.mark.tier_a
def test_the_doors_of_all_tests(
    machine: Machine, door: Redirecting, engines: Engines, layout: Layout, repository: str
) -> None:
    """With `--store s3` they send clients to the store, from TLS to TLS; over a folder they stream."""
    layout.add_image(small_image("redirected"), "v1")
    push_layout(machine, door.registry, layout, "v1", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, door.registry, f"{repository}:v1", back)
    require_same((layout, "v1"), (back, "v1"))
    if engines.is_redirecting:
        door.require_redirects(repository, "skopeo")
    else:
        door.require_streamed(repository)


@pytest.mark.tier_a
def test_skopeo(machine: Machine, redirecting: Redirecting, layout: Layout, repository: str, pushed: str) -> None:
    """What comes from the store is what was pushed."""
    back = Layout(machine.home / "back")
    pull_layout(machine, redirecting.registry, pushed, back)
    require_same((layout, "v1"), (back, "v1"))
    redirecting.require_redirects(repository, "skopeo")


@pytest.mark.tier_a
@pytest.mark.root
def test_buildah(machine: Machine, redirecting: Redirecting, repository: str, pushed: str) -> None:
    """The layer is unpacked, its digest proved."""
    storage = ["--root", str(machine.folder("storage")), "--runroot", str(machine.folder("storage-run"))]
    command = ["buildah", *storage, "--storage-driver", "vfs"]
    registry = redirecting.registry
    image = machine.run(*command, "pull", *flags(registry), f"docker://{registry.host}/{pushed}").strip()
    assert machine.run(*command, "images", "--no-trunc", "--quiet").strip().endswith(image)
    redirecting.require_redirects(repository, "Buildah")


@pytest.mark.tier_b
@pytest.mark.root
def test_podman(machine: Machine, redirecting: Redirecting, repository: str, pushed: str) -> None:
    """Pulled into storage of its own."""
    registry = redirecting.registry
    machine.run("podman", *podman_storage(machine), "pull", *flags(registry), f"{registry.host}/{pushed}")
    redirecting.require_redirects(repository)


@pytest.mark.tier_b
@pytest.mark.root
def test_docker(docker: Machine, redirecting: Redirecting, repository: str, pushed: str) -> None:
    """By the daemon, which drops the token on its way to another host."""
    registry = redirecting.registry
    docker.run("docker", "login", "-u", registry.user, "--password-stdin", registry.host, stdin=registry.password)
    docker.run("docker", "pull", f"{registry.host}/{pushed}")
    redirecting.require_redirects(repository, "docker")


@pytest.mark.tier_b
@pytest.mark.root
def test_containerd(
    machine: Machine, containerd_socket: pathlib.Path, redirecting: Redirecting, repository: str, pushed: str
) -> None:
    """Released builds are redirected; those that do not know their version might be another program: streamed."""
    ctr = Ctr(machine, containerd_socket, redirecting.registry)
    name = f"{redirecting.registry.host}/{pushed}"
    ctr.run("images", "pull", *ctr.door(), name)
    assert name in ctr.run("images", "ls", "-q")
    if "unknown" in machine.run("ctr", "--version"):
        redirecting.require_streamed(repository)
    else:
        redirecting.require_redirects(repository, "containerd")
    ctr.forget(name)


@pytest.mark.tier_a
@pytest.mark.parametrize("backend", ["basic", "token"])
def test_oras_py(machine: Machine, redirecting: Redirecting, repository: str, backend: str) -> None:
    """An artifact's file, whichever way the client authenticates."""
    content = os.urandom(LARGE_BYTES)
    machine.environment |= as_environment(redirecting.registry)
    target = f"{redirecting.registry.host}/{repository}:v1"
    path = f"{machine.write('large.bin', content)}:application/octet-stream"
    assert json.loads(machine.python("oras_client.py", backend, "push", target, path)) in (200, 201)
    into = machine.folder("pulled")
    machine.python("oras_client.py", backend, "pull", target, str(into))
    assert [path.read_bytes() for path in into.rglob("*") if path.is_file()] == [content]
    redirecting.require_redirects(repository)


@pytest.mark.tier_a
@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_helm(machine: Machine, redirecting: Redirecting, repository: str, helm: str) -> None:
    """A chart with a large file in it."""
    registry = redirecting.registry
    machine.write("demo/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    machine.write("demo/files/noise", os.urandom(LARGE_BYTES))
    machine.run(helm, "package", machine.home / "demo", "-d", machine.folder("packages"))
    chart = machine.home / "packages" / "demo-0.1.0.tgz"
    plain = [] if helm == "helm3" else ["--plain-http"]
    who = ["-u", registry.user, "--password-stdin"]
    machine.run(helm, "registry", "login", *plain, *who, registry.host, stdin=registry.password)
    machine.run(helm, "push", "--plain-http", chart, f"oci://{registry.host}/{repository}")
    reference = f"oci://{registry.host}/{repository}/demo"
    machine.run(helm, "pull", "--plain-http", reference, "--version", "0.1.0", "-d", machine.folder("pulled"))
    assert (machine.home / "pulled" / chart.name).read_bytes() == chart.read_bytes()
    redirecting.require_redirects(f"{repository}/demo", "Helm")


@pytest.mark.tier_a
def test_curl(machine: Machine, redirecting: Redirecting, layout: Layout, repository: str, pushed: str) -> None:
    """Whole, and a part that is there already continued, each with a token that stays here."""
    registry = redirecting.registry
    token = registry.request("GET", f"/token?scope=repository:{repository}:pull").json()["token"]
    digest = registry.manifest(repository, "v1").json()["layers"][0]["digest"]
    url = f"{registry.url}/v2/{repository}/blobs/{digest}"
    target = machine.home / "layer"
    command = ["curl", "-sSfL", "-H", f"Authorization: Bearer {token}", "-o", str(target)]
    shown = machine.run(*command, "-w", "%{num_redirects} %{http_code} %{remote_ip} %{url_effective}", url)
    assert shown.startswith("1 200 ")
    assert f"http://{PUBLIC_HOST}:" in shown
    content = target.read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    target.write_bytes(content[:1000])
    assert machine.run(*command, "-C", "-", "-w", "%{http_code}", url) == "206"
    assert target.read_bytes() == content
    redirecting.require_redirects(repository, "curl")


@pytest.mark.tier_a
def test_the_reference_registry(
    machine: Machine, redirecting: Redirecting, layout: Layout, repository: str, pushed: str
) -> None:
    """CNCF distribution as a pull-through cache fetches from the store what it is sent there for."""
    registry = redirecting.registry
    host = f"127.0.0.1:{free_port()}"
    configuration = machine.write(
        "proxy.yml",
        f"version: 0.1\nlog: {{level: warn}}\n"
        f"storage:\n  filesystem: {{rootdirectory: {machine.folder('cache')}}}\n"
        f"http: {{addr: '{host}'}}\n"
        f"proxy:\n  remoteurl: {registry.url}\n  username: {registry.user}\n  password: '{registry.password}'\n",
    )
    own = Machine(machine.folder("proxy"))
    del own.environment["REGISTRY_AUTH_FILE"]
    with ended(own.start("docker-registry", "serve", configuration, log=machine.home / "proxy.log")):
        front = Registry(host, "anybody", "anything")
        wait_until_serving(front)
        back = Layout(machine.home / "back")
        pull_layout(machine, front, pushed, back)
    require_same((layout, "v1"), (back, "v1"))
    redirecting.require_redirects(repository)


@pytest.fixture
def link(machine: Machine) -> Iterator[Link]:
    """A network of clients from where only this machine's registries can be reached."""
    with linked_namespace(machine) as link:
        yield link


@pytest.mark.tier_a
@pytest.mark.root
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_a_network_that_cannot_reach_the_store(
    machine: Machine, link: Link, stored: Engines, layout: Layout, repository: str, *, is_known: bool
) -> None:
    """Clients there are streamed where the settings name their network; where they do not, the pull fails."""
    port = free_port()
    rules = {"listeners__far__address": f"{link.outside}:{port}"}
    if is_known:
        rules |= {"storage__redirect": "rules", "storage__stream_networks": f"{link.inside}/32"}
    with serve(machine.folder("far-server"), stored.redirecting(), **rules) as server:
        found = Redirecting(Registry(server.host, "admin", ADMIN_PASSWORD), server)
        layout.add_image(large_image(), "v1")
        push_layout(machine, found.registry, layout, "v1", repository)
        far = Machine(machine.folder("far"))
        enter(far, link, FAR_NAME, {})
        source = f"docker://{FAR_NAME}:{port}/{repository}:v1"
        back = Layout(far.home / "back")
        copy = ["skopeo", "copy", "--all", *flags(found.registry, "src-"), source, f"oci:{back.folder}:v1"]
        if is_known:
            far.run(*copy)
            require_same((layout, "v1"), (back, "v1"))
            found.require_streamed(repository)
        else:
            assert "connection refused" in far.refused(*copy)
            found.require_redirects(repository)

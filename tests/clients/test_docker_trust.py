"""Docker's certs.d: the daemon verifies a private authority on an address that is not loopback."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.clients.daemons import docker_daemon
from tests.clients.machine import Machine
from tests.clients.netns import enter, forwarded, linked_namespace
from tests.clients.target import Registry

pytestmark = [pytest.mark.tier_b, pytest.mark.root]


@pytest.fixture
def far_docker(secure: Registry) -> Iterator[Machine]:
    """A machine behind a network link, with a Docker daemon and an /etc/docker of its own."""
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        machine = Machine(pathlib.Path(home))
        pathlib.Path("/etc/docker").mkdir(exist_ok=True)
        with linked_namespace(machine) as link, forwarded(link.outside, secure.port):
            far = Machine(machine.folder("far"))
            enter(far, link, "registry.test", {"/etc/docker": far.folder("etc-docker")})
            with docker_daemon(far, {}) as socket:
                far.environment |= {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "0"}
                yield far


def test_certificates_of_the_daemon(far_docker: Machine, secure: Registry, repository: str) -> None:
    """Without `certs.d/HOST:PORT/ca.crt` the daemon refuses the registry; with it login, push and pull work."""
    host = secure.at("registry.test").host
    login = ["docker", "login", "-u", secure.user, "-p", secure.password, host]
    assert "certificate signed by unknown authority" in far_docker.refused(*login)
    assert secure.ca is not None
    far_docker.write(f"etc-docker/certs.d/{host}/ca.crt", secure.ca.read_bytes())
    far_docker.run(*login)

    name = f"{host}/{repository}:v1"
    far_docker.run("docker", "build", "--network", "none", "-t", name, far_docker.build_context(repository))
    far_docker.run("docker", "push", name)
    assert secure.tags(repository) == ["v1"]
    far_docker.run("docker", "rmi", "--force", name)
    far_docker.run("docker", "pull", name)
    assert far_docker.run("docker", "run", "--rm", "--network", "none", name) == f"{repository}\n"

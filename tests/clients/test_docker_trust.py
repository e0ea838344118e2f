"""Docker's certs.d: the daemon verifies a private authority on an address that is not loopback."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.daemons import docker_daemon
from tests.clients.machine import Machine
from tests.clients.netns import enter, forwarded, linked_namespace
from tests.clients.target import Registry
from tests.support.engines import Engines
from tests.support.seaweedfs import PUBLIC_HOST

pytestmark = [pytest.mark.tier_b, pytest.mark.root]


@pytest.fixture
def far_docker(request: pytest.FixtureRequest, secure: Registry, engines: Engines) -> Iterator[Machine]:
    """A machine behind a network link, with a Docker daemon and an /etc/docker of its own; it reaches the registry
    and, where clients are sent there, the store.
    """
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        machine = Machine(pathlib.Path(home))
        pathlib.Path("/etc/docker").mkdir(exist_ok=True)
        ports = [secure.port, *(request.getfixturevalue("seaweed").ports if engines.is_redirecting else [])]
        with ExitStack() as stack:
            link = stack.enter_context(linked_namespace(machine))
            for port in ports:
                stack.enter_context(forwarded(link.outside, port))
            far = Machine(machine.folder("far"))
            names = ["registry.test", *([PUBLIC_HOST] if engines.is_redirecting else [])]
            enter(far, link, " ".join(names), {"/etc/docker": far.folder("etc-docker")})
            socket = stack.enter_context(docker_daemon(far, {}))
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

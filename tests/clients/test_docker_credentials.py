"""Docker with the name and secret of a service account, with a login password, and with the credential helper."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from tests.clients.images import Layout, running_image
from tests.clients.machine import PATH, Machine
from tests.clients.target import Registry, push_layout
from tests.clients.test_credentials import add_robot, add_secret, api, wait_until_refused

pytestmark = [pytest.mark.tier_b, pytest.mark.root]
PROGRAMS = pathlib.Path(sys.executable).parent


@pytest.fixture
def image(docker: Machine, registry: Registry, layout: Layout, repository: str) -> str:
    """A name to pull by."""
    layout.add_image(running_image(repository), "v1")
    push_layout(docker, registry, layout, "v1", repository)
    return f"{registry.host}/{repository}:v1"


def pull_and_push(docker: Machine, image: str) -> None:
    """Pull an image and push it under another tag."""
    docker.run("docker", "pull", image)
    docker.run("docker", "tag", image, f"{image}-again")
    docker.run("docker", "push", f"{image}-again")
    docker.run("docker", "rmi", "--force", image, f"{image}-again")


def test_a_robot_logs_in(docker: Machine, registry: Registry, image: str, repository: str) -> None:
    """`docker login -u 'robot$namespace+name'` with a secret pulls and pushes, and not after its end."""
    robot = add_robot(registry, repository)
    secret, number = add_secret(registry, robot, "one")
    docker.run("docker", "login", "-u", robot, "--password-stdin", registry.host, stdin=secret)
    pull_and_push(docker, image)
    api(registry, "PATCH", f"/service-accounts/{robot}", {"disabled": True})
    wait_until_refused(docker, "docker", "login", "-u", robot, "-p", secret, registry.host)
    api(registry, "PATCH", f"/service-accounts/{robot}", {"disabled": False})
    api(registry, "DELETE", f"/service-accounts/{robot}/secrets/{number}")


def test_the_helper(docker: Machine, registry: Registry, image: str) -> None:
    """With `credHelpers`, docker asks the helper; a login and a logout go through it as well."""
    docker.environment["PATH"] = f"{PATH}:{PROGRAMS}"
    docker.environment["XDG_CONFIG_HOME"] = str(docker.folder("config"))
    who = ["--username", registry.user, "--password-stdin"]
    docker.run(PROGRAMS / "entrepot", "login", registry.url, *who, stdin=registry.password)
    docker.write("docker/config.json", json.dumps({"credHelpers": {registry.host: "entrepot"}}))
    pull_and_push(docker, image)
    docker.run("docker", "login", "-u", registry.user, "--password-stdin", registry.host, stdin=registry.password)
    pull_and_push(docker, image)
    docker.run("docker", "logout", registry.host)
    docker.refused("docker", "pull", image)

"""Docker Compose, two generations: services built, pushed, pulled and run, and whole projects published."""

from __future__ import annotations

import pathlib

import pytest

from tests.clients.machine import Machine
from tests.clients.target import Registry

pytestmark = [pytest.mark.tier_b, pytest.mark.root]


def log_in(docker: Machine, registry: Registry) -> None:
    """`docker login`, whose credentials Compose reads."""
    docker.run("docker", "login", "-u", registry.user, "--password-stdin", registry.host, stdin=registry.password)


def write_project(docker: Machine, image: str, message: str) -> pathlib.Path:
    """A project of one service that prints a message."""
    build = f"build:\n      context: {docker.build_context(message)}\n      network: none\n"
    service = f"image: {image}\n    network_mode: none\n    {build}"
    return docker.write("compose.yaml", f"name: demo\nservices:\n  one:\n    {service}")


def test_build_push_pull_up(docker: Machine, registry: Registry, repository: str) -> None:
    """`build`, `push`, `pull`, `up` and `down` work against the registry."""
    log_in(docker, registry)
    image = f"{registry.host}/{repository}:v1"
    project = ["docker-compose-2", "-p", docker.home.name, "-f", str(write_project(docker, image, repository))]
    docker.run(*project, "build")
    docker.run(*project, "push")
    assert registry.tags(repository) == ["v1"]
    docker.run("docker", "rmi", "--force", image)
    docker.run(*project, "pull")
    said = docker.run(*project, "up", "--no-build", "--abort-on-container-exit", "--no-log-prefix")
    assert repository in said
    docker.run(*project, "down")


def test_publish_a_project(docker: Machine, secure: Registry, repository: str) -> None:
    """A project is published as an artifact with embedded data, and read back by `oci://`, over TLS."""
    called = secure.at("localhost")
    log_in(docker, called)
    docker.environment["SSL_CERT_FILE"] = str(secure.ca)
    project = write_project(docker, "example.test/one:v1", repository)
    reference = f"{called.host}/{repository}:v1"
    docker.run("docker-compose-5", "-f", project, "publish", "-y", reference)
    manifest = secure.manifest(repository, "v1").json()
    assert manifest["artifactType"] == "application/vnd.docker.compose.project"
    rendered = docker.run("docker-compose-5", "-f", f"oci://{reference}", "config")
    assert "image: example.test/one:v1" in rendered

"""A real Docker daemon: push, pull, run, mount, lists of platforms, builds, mirrors."""

from __future__ import annotations

import base64
import json

import pytest

from tests.clients.images import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, Layout, running_image, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, as_environment, push_layout

pytestmark = [pytest.mark.tier_b, pytest.mark.root]


def log_in(docker: Machine, registry: Registry) -> None:
    """`docker login`."""
    docker.run("docker", "login", "-u", registry.user, "--password-stdin", registry.host, stdin=registry.password)


def build(docker: Machine, name: str, message: str) -> None:
    """Build an image that prints a message when it is run."""
    docker.run("docker", "build", "--network", "none", "-t", name, docker.build_context(message))


def run(docker: Machine, name: str) -> str:
    """Run an image and answer what it printed."""
    return docker.run("docker", "run", "--rm", "--network", "none", name)


def forget(docker: Machine, *names: str) -> None:
    """Remove images from the daemon, so that the next pull has to fetch them."""
    docker.run("docker", "rmi", "--force", *names)


def test_push_pull_run(docker: Machine, either: Registry, repository: str) -> None:
    """A built image is pushed, removed, pulled by tag and by digest, and runs."""
    log_in(docker, either)
    name = f"{either.host}/{repository}:v1"
    build(docker, name, repository)
    docker.run("docker", "push", name)
    answer = either.manifest(repository, "v1")
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST
    by_digest = f"{either.host}/{repository}@{answer.headers['Docker-Content-Digest']}"
    for wanted in (name, by_digest):
        forget(docker, name)
        docker.run("docker", "pull", wanted)
        assert run(docker, wanted) == f"{repository}\n"


def test_push_again(docker: Machine, registry: Registry, repository: str) -> None:
    """Another tag of an image that is there sends no layer."""
    log_in(docker, registry)
    name = f"{registry.host}/{repository}"
    build(docker, f"{name}:v1", repository)
    docker.run("docker", "push", f"{name}:v1")
    docker.run("docker", "tag", f"{name}:v1", f"{name}:v2")
    said = docker.run("docker", "push", f"{name}:v2")
    assert said.count("Layer already exists") == 2
    digests = {registry.manifest(repository, tag).headers["Docker-Content-Digest"] for tag in ("v1", "v2")}
    assert len(digests) == 1


def test_push_to_another_repository_mounts(docker: Machine, registry: Registry, repository: str) -> None:
    """The daemon names the repository it knows the layers of, and the registry mounts them."""
    log_in(docker, registry)
    first, second = (f"{registry.host}/{repository}/{end}:v1" for end in ("first", "second"))
    build(docker, first, repository)
    docker.run("docker", "push", first)
    docker.run("docker", "tag", first, second)
    said = docker.run("docker", "push", second)
    assert said.count(f"Mounted from {repository}/first") == 2
    forget(docker, first, second)
    docker.run("docker", "pull", second)
    assert run(docker, second) == f"{repository}\n"


def test_all_tags(docker: Machine, registry: Registry, repository: str) -> None:
    """`push --all-tags` and `pull --all-tags` carry each tag."""
    log_in(docker, registry)
    name = f"{registry.host}/{repository}"
    for tag in ("v1", "v2", "v3"):
        build(docker, f"{name}:{tag}", f"{tag} of {repository}")
    docker.run("docker", "push", "--all-tags", name)
    assert registry.tags(repository) == ["v1", "v2", "v3"]
    forget(docker, *(f"{name}:{tag}" for tag in ("v1", "v2", "v3")))
    docker.run("docker", "pull", "--all-tags", name)
    assert run(docker, f"{name}:v2") == f"v2 of {repository}\n"


def test_missing_and_up_to_date(docker: Machine, registry: Registry, repository: str) -> None:
    """A missing tag is reported as not found, and a second pull moves nothing."""
    log_in(docker, registry)
    name = f"{registry.host}/{repository}"
    build(docker, f"{name}:v1", repository)
    docker.run("docker", "push", f"{name}:v1")
    said = docker.refused("docker", "pull", f"{name}:none")
    assert "manifest unknown" in said or "not found" in said
    assert "Image is up to date" in docker.run("docker", "pull", f"{name}:v1")


def test_wrong_password(docker: Machine, registry: Registry, repository: str) -> None:
    """`docker login` refuses a wrong password, and nobody pushes without logging in."""
    said = docker.refused("docker", "login", "-u", registry.user, "-p", "wrong", registry.host)
    assert "unauthorized" in said.lower()
    name = f"{registry.host}/{repository}:v1"
    build(docker, name, repository)
    docker.refused("docker", "push", name)
    assert registry.tags(repository) == []


def test_manifest_list(docker: Machine, registry: Registry, repository: str) -> None:
    """`docker manifest` makes and reads a list; its client finds out by itself that the server speaks plain HTTP."""
    log_in(docker, registry)
    docker.environment["DOCKER_CLI_EXPERIMENTAL"] = "enabled"
    name = f"{registry.host}/{repository}"
    for architecture in ("amd64", "arm64"):
        build(docker, f"{name}:{architecture}", architecture)
        docker.run("docker", "push", f"{name}:{architecture}")
    parts = [f"{name}:amd64", f"{name}:arm64"]
    docker.run("docker", "manifest", "create", "--insecure", f"{name}:list", *parts)
    for part, architecture in zip(parts, ("amd64", "arm64"), strict=True):
        docker.run("docker", "manifest", "annotate", f"{name}:list", part, "--os", "linux", "--arch", architecture)
    docker.run("docker", "manifest", "push", "--insecure", f"{name}:list")
    assert registry.manifest(repository, "list").headers["Content-Type"] == DOCKER_MANIFEST_LIST
    inspected = json.loads(docker.run("docker", "manifest", "inspect", "--insecure", f"{name}:list"))
    assert {entry["platform"]["architecture"] for entry in inspected["manifests"]} == {"amd64", "arm64"}
    forget(docker, *parts)
    docker.run("docker", "pull", f"{name}:list")
    assert run(docker, f"{name}:list") == "amd64\n"


def test_pull_of_an_oci_index(docker: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """The daemon takes its platform out of an OCI index that another client pushed."""
    layout.add_index([running_image(repository), small_image("other", architecture="s390x")], "v1")
    push_layout(docker, registry, layout, "v1", repository)
    log_in(docker, registry)
    name = f"{registry.host}/{repository}:v1"
    docker.run("docker", "pull", name)
    assert run(docker, name) == f"{repository}\n"


def test_buildkit_from_and_cache(docker: Machine, registry: Registry, repository: str) -> None:
    """BuildKit takes its base image from the registry, and its cache from an image built elsewhere."""
    log_in(docker, registry)
    base, derived = (f"{registry.host}/{repository}/{end}:v1" for end in ("base", "derived"))
    build(docker, base, repository)
    docker.run("docker", "push", base)
    forget(docker, base)
    docker.environment["DOCKER_BUILDKIT"] = "1"
    docker.write("kit/Dockerfile", f'FROM {base}\nRUN ["/bin/busybox", "touch", "/made"]\n')
    words = ["docker", "build", "--network", "none", "--progress", "plain", "--build-arg", "BUILDKIT_INLINE_CACHE=1"]
    docker.run(*words, "-t", derived, docker.home / "kit")
    docker.run("docker", "push", derived)
    forget(docker, derived)
    docker.run("docker", "builder", "prune", "--all", "--force")
    said = docker.run_loud(*words, "--cache-from", derived, "-t", "again", docker.home / "kit")
    assert "CACHED" in said
    assert run(docker, "again") == f"{repository}\n"


def test_registry_mirror(docker: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """A daemon with the registry as its mirror pulls Docker Hub's `library` names from the hosted namespace."""
    short = repository.rpartition("/")[2]
    layout.add_image(running_image(repository), "v1")
    push_layout(docker, registry, layout, "v1", f"library/{short}")
    # The daemon shows a mirror the credentials for Docker Hub.
    encoded = base64.b64encode(registry.credentials.encode()).decode()
    docker.write("docker/config.json", json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": encoded}}}))
    docker.run("docker", "pull", f"{short}:v1")
    assert run(docker, f"{short}:v1") == f"{repository}\n"


def test_python_sdk(docker: Machine, registry: Registry, repository: str) -> None:
    """The Docker SDK for Python logs in, pushes and pulls through the daemon."""
    name = f"{registry.host}/{repository}"
    build(docker, f"{name}:v1", repository)
    docker.environment |= as_environment(registry)
    pushed = json.loads(docker.python("docker_sdk.py", name, "v1"))
    assert pushed["digest"] == registry.manifest(repository, "v1").headers["Docker-Content-Digest"]
    assert pushed["output"] == f"{repository}\n"

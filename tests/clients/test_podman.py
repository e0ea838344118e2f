"""podman: login, push, pull, run, pods, lists of platforms, search, mirrors, and its API through podman-py."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.clients.daemons import podman_service, podman_storage
from tests.clients.images import DOCKER_MANIFEST_LIST, IMAGE_INDEX, Layout, running_image, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, as_environment, flags, log_in, push_layout, tls_flags

pytestmark = [pytest.mark.tier_b, pytest.mark.root]


def podman(machine: Machine, *words: str | pathlib.Path) -> str:
    """podman with storage of this machine alone."""
    return machine.run("podman", *podman_storage(machine), *words)


def build(machine: Machine, name: str, message: str) -> None:
    """Build an image that prints a message when it is run."""
    podman(machine, "build", "--isolation", "chroot", "-t", name, machine.build_context(message))


def run(machine: Machine, *words: str) -> str:
    """Run an image without a network and answer what it printed."""
    return podman(machine, "run", "--rm", "--network", "none", *words)


def test_build_push_run(machine: Machine, either: Registry, repository: str) -> None:
    """A built image is pushed, removed, and run straight from the registry, over HTTP and over TLS."""
    name = f"{either.host}/{repository}:v1"
    build(machine, name, repository)
    podman(machine, "login", *tls_flags(either), "-u", either.user, "-p", either.password, either.host)
    podman(machine, "push", *tls_flags(either), name)
    podman(machine, "rmi", "--all", "--force")
    if either.ca:
        podman(machine, "pull", *tls_flags(either), name)
    assert run(machine, *([] if either.ca else tls_flags(either)), name) == f"{repository}\n"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_pull_and_run(machine: Machine, registry: Registry, layout: Layout, repository: str, compression: str) -> None:
    """An OCI image with gzip or zstd layers out of an index is pulled and runs."""
    layout.add_index([running_image(repository, compression=compression), small_image("x", architecture="arm64")], "v1")
    push_layout(machine, registry, layout, "v1", repository)
    name = f"{registry.host}/{repository}:v1"
    podman(machine, "pull", *flags(registry), name)
    assert run(machine, name) == f"{repository}\n"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "zstd:chunked"])
def test_push_compressed(machine: Machine, registry: Registry, repository: str, compression: str) -> None:
    """Each compression that podman can write is stored, and runs after a pull into empty storage."""
    build(machine, "built", repository)
    name = f"{registry.host}/{repository}:v1"
    podman(machine, "push", *flags(registry), "--format", "oci", "--compression-format", compression, "built", name)
    media_types = {layer["mediaType"] for layer in registry.manifest(repository, "v1").json()["layers"]}
    assert media_types == {f"application/vnd.oci.image.layer.v1.tar+{compression.partition(':')[0]}"}
    podman(machine, "rmi", "--all", "--force")
    podman(machine, "pull", *flags(registry), name)
    assert run(machine, name) == f"{repository}\n"


def test_push_again_and_mount(machine: Machine, registry: Registry, repository: str) -> None:
    """A second tag and a second repository of one image are pushed without its layers."""
    name = f"{registry.host}/{repository}"
    build(machine, f"{name}/a:v1", repository)
    for target in (f"{name}/a:v1", f"{name}/a:v2", f"{name}/b:v1"):
        podman(machine, "push", *flags(registry), f"{name}/a:v1", target)
    manifests = [registry.manifest(*place).json() for place in ((f"{repository}/a", "v1"), (f"{repository}/b", "v1"))]
    assert manifests[0]["layers"] == manifests[1]["layers"]
    assert registry.tags(f"{repository}/a") == ["v1", "v2"]
    for layer in manifests[1]["layers"]:
        registry.blob(f"{repository}/b", layer["digest"])


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_manifest_push_all(machine: Machine, registry: Registry, layout: Layout, repository: str, form: str) -> None:
    """A list put together from images of the registry is pushed with all of them."""
    for architecture in ("amd64", "arm64"):
        layout.add_image(small_image("listed", architecture=architecture), architecture)
        push_layout(machine, registry, layout, architecture, f"{repository}/parts")
    log_in(machine, registry)
    podman(machine, "manifest", "create", "many")
    for architecture in ("amd64", "arm64"):
        part = f"docker://{registry.host}/{repository}/parts:{architecture}"
        podman(machine, "manifest", "add", *tls_flags(registry), "many", part)
    name = f"docker://{registry.host}/{repository}:many"
    podman(machine, "manifest", "push", "--all", "--format", form, *tls_flags(registry), "many", name)
    answer = registry.manifest(repository, "many")
    assert answer.headers["Content-Type"] == (IMAGE_INDEX if form == "oci" else DOCKER_MANIFEST_LIST)
    assert {entry["platform"]["architecture"] for entry in answer.json()["manifests"]} == {"amd64", "arm64"}


def test_search(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """`search` finds the repository by the catalogue, and `search --list-tags` its tags."""
    layout.add_image(small_image("searched"), "v1")
    push_layout(machine, registry, layout, "v1", repository)
    log_in(machine, registry)
    name = f"{registry.host}/{repository}"
    words = ["search", *tls_flags(registry), "--format", "{{.Name}}"]
    assert name in podman(machine, *words, name).split()
    listed = podman(machine, "search", "--list-tags", *tls_flags(registry), name)
    assert listed.splitlines()[-1].split() == [name, "v1"]


def test_mirror(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """A mirror in registries.conf that points at a hosted prefix serves another registry's names."""
    layout.add_image(running_image(repository), "v1")
    push_layout(machine, registry, layout, "v1", f"{repository}/library/app")
    log_in(machine, registry)
    configuration = machine.write(
        "registries.conf",
        f'[[registry]]\nprefix = "docker.io"\nlocation = "127.0.0.1:1"\n'
        f'[[registry.mirror]]\nlocation = "{registry.host}/{repository}"\ninsecure = true\n',
    )
    machine.environment["CONTAINERS_REGISTRIES_CONF"] = str(configuration)
    podman(machine, "pull", "docker.io/library/app:v1")
    assert run(machine, "docker.io/library/app:v1") == f"{repository}\n"


def test_play_a_pod(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """`kube play` pulls the image of a pod and runs it, and `kube down` takes it away."""
    layout.add_image(running_image(repository), "v1")
    push_layout(machine, registry, layout, "v1", repository)
    log_in(machine, registry)
    container = {"name": "one", "image": f"{registry.host}/{repository}:v1"}
    spec = {"hostNetwork": True, "restartPolicy": "Never", "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    document = machine.write("pod.yaml", json.dumps(pod))
    podman(machine, "kube", "play", *tls_flags(registry), document)
    podman(machine, "wait", "pod-one")
    assert podman(machine, "logs", "pod-one") == f"{repository}\n"
    podman(machine, "kube", "down", document)


def test_login_and_wrong_password(machine: Machine, either: Registry) -> None:
    """`login` accepts the right password, refuses another, and `logout` forgets."""
    who = ["-u", either.user, "-p"]
    assert "Login Succeeded" in podman(machine, "login", *tls_flags(either), *who, either.password, either.host)
    words = ["podman", *podman_storage(machine), "login", *tls_flags(either), *who, "wrong", either.host]
    machine.refused(*words)
    podman(machine, "logout", either.host)
    assert either.host not in pathlib.Path(machine.environment["REGISTRY_AUTH_FILE"]).read_text()


def test_podman_py(machine: Machine, registry: Registry, repository: str) -> None:
    """podman-py pushes and pulls through podman's API service."""
    name = f"{registry.host}/{repository}"
    build(machine, f"{name}:v1", repository)
    machine.environment |= as_environment(registry)
    with podman_service(machine) as address:
        answer = json.loads(machine.python("podman_sdk.py", address, name, "v1"))
    assert answer["tags"] == [f"{name}:v1"]
    assert registry.tags(repository) == ["v1"]

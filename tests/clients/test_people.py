"""Who may what, as clients see it: people with their own namespace, readers, and callers without credentials."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import uuid

import pytest

from tests.clients.images import Layout, require_same, running_image, small_image
from tests.clients.machine import Machine
from tests.clients.target import Registry, flags, pull_layout, push_layout, tls_flags
from tests.clients.wire import challenge, get_token, ping, token_of

PASSWORD = "a-long-enough-password"


def administer(registry: Registry, method: str, path: str, **body: str) -> None:
    """One request to the management API, which has to succeed."""
    answer = registry.request(method, f"/api/v1{path}", json=body)
    if answer.status_code == 404 and "errors" not in answer.text:
        pytest.skip("this server has no management API")
    assert answer.ok, answer.text


@pytest.fixture
def person(registry: Registry) -> Registry:
    """The registry, used by somebody who is no administrator."""
    name = f"person-{uuid.uuid4().hex[:8]}"
    administer(registry, "POST", "/users", name=name, password=PASSWORD)
    return dataclasses.replace(registry, user=name, password=PASSWORD)


@pytest.fixture
def namespace(registry: Registry, request: pytest.FixtureRequest) -> str:
    """A namespace of the administrator; `indirect` parametrisation gives its visibility."""
    name = f"space-{uuid.uuid4().hex[:8]}"
    administer(registry, "POST", "/namespaces", name=name, visibility=getattr(request, "param", "private"))
    return name


public = pytest.mark.parametrize("namespace", ["public"], indirect=True)


@pytest.mark.tier_a
def test_own_namespace(machine: Machine, person: Registry, layout: Layout) -> None:
    """A person pushes into the namespace of their own name, which the first push makes."""
    layout.add_image(small_image("mine"), "v1")
    push_layout(machine, person, layout, "v1", f"{person.user}/app")
    back = Layout(machine.home / "back")
    pull_layout(machine, person, f"{person.user}/app:v1", back)
    require_same((layout, "v1"), (back, "v1"))


@pytest.mark.tier_a
def test_no_push_elsewhere(machine: Machine, person: Registry, layout: Layout, namespace: str) -> None:
    """A push into somebody else's namespace, or into one that is not there, is denied with a reason."""
    layout.add_image(small_image("not mine"), "v1")
    source = f"oci:{layout.folder}:v1"
    for place in (namespace, f"none-{uuid.uuid4().hex[:8]}"):
        target = f"docker://{person.host}/{place}/app:v1"
        said = machine.refused("skopeo", "copy", *flags(person, "dest-"), source, target)
        assert "denied" in said.lower() or "unauthorized" in said.lower()
        assert "500" not in said


@pytest.mark.tier_a
def test_reader(machine: Machine, registry: Registry, person: Registry, layout: Layout, namespace: str) -> None:
    """A private image is unknown to a person until they are made a reader; a reader still cannot push."""
    layout.add_image(small_image("private"), "v1")
    push_layout(machine, registry, layout, "v1", f"{namespace}/app")
    name = f"docker://{person.host}/{namespace}/app:v1"
    said = machine.refused("skopeo", "inspect", "--raw", *flags(person), name)
    assert "unknown" in said or "unauthorized" in said
    administer(registry, "PUT", f"/namespaces/{namespace}/members/{person.user}", role="reader")
    back = Layout(machine.home / "back")
    pull_layout(machine, person, f"{namespace}/app:v1", back)
    require_same((layout, "v1"), (back, "v1"))
    target = f"docker://{person.host}/{namespace}/app:v2"
    machine.refused("skopeo", "copy", *flags(person, "dest-"), f"oci:{layout.folder}:v1", target)
    assert registry.tags(f"{namespace}/app") == ["v1"]


@pytest.mark.tier_a
def test_writer_copies_between_namespaces(
    machine: Machine, registry: Registry, person: Registry, layout: Layout, namespace: str
) -> None:
    """Somebody who may read one namespace and write another copies between them by mount."""
    digest = layout.add_image(small_image("copied"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", f"{namespace}/app")
    administer(registry, "PUT", f"/namespaces/{namespace}/members/{person.user}", role="reader")
    source, target = (f"docker://{person.host}/{place}/app:v1" for place in (namespace, person.user))
    words = ["--debug", "copy", *flags(person, "src-"), *flags(person, "dest-")]
    assert "&mount=sha256" in machine.run_loud("skopeo", *words, source, target)
    person.require(f"{person.user}/app", "v1", layout, digest)


@pytest.mark.tier_a
@public
def test_anonymous_pull(machine: Machine, registry: Registry, layout: Layout, namespace: str) -> None:
    """A public image is pulled without credentials by token; an anonymous push is refused."""
    layout.add_index([small_image("open"), small_image("open", architecture="arm64")], "v1")
    push_layout(machine, registry, layout, "v1", f"{namespace}/app")
    back = Layout(machine.home / "back")
    name = f"docker://{registry.host}/{namespace}/app:v1"
    machine.run("skopeo", "copy", "--all", *tls_flags(registry, "src-"), name, f"oci:{back.folder}:v1")
    require_same((layout, "v1"), (back, "v1"))
    said = machine.refused("skopeo", "copy", *tls_flags(registry, "dest-"), f"oci:{layout.folder}:v1", name)
    assert "authentication required" in said or "unauthorized" in said or "denied" in said


@pytest.mark.tier_a
@public
def test_anonymous_buildkit_flow(machine: Machine, registry: Registry, layout: Layout, namespace: str) -> None:
    """BuildKit's empty Basic pair gets a token with which a public image is read, and a private one is not."""
    layout.add_image(small_image("empty pair"), "v1")
    push_layout(machine, registry, layout, "v1", f"{namespace}/app")
    found = ping(registry)
    query = {"service": found.service, "scope": f"repository:{namespace}/app:pull"}
    token = token_of(registry.request("GET", found.path, params=query, auth=("", "")))
    headers = {"Authorization": f"Bearer {token}"}
    assert registry.request("HEAD", f"/v2/{namespace}/app/manifests/v1", auth=None, headers=headers).status_code == 200
    private = registry.request("HEAD", "/v2/clients/none/manifests/v1", auth=None, headers=headers)
    assert challenge(private).scope == "repository:clients/none:pull"


@pytest.mark.tier_a
def test_token_is_a_ceiling(registry: Registry, person: Registry, namespace: str) -> None:
    """The token service leaves out what a person may not do, instead of refusing."""
    token = token_of(get_token(person, f"repository:{namespace}/app:pull,push"))
    headers = {"Authorization": f"Bearer {token}"}
    answer = person.request("POST", f"/v2/{namespace}/app/blobs/uploads/", auth=None, headers=headers)
    assert answer.status_code in (401, 403)
    assert answer.json()["errors"][0]["code"] in ("UNAUTHORIZED", "DENIED")


@pytest.mark.tier_a
@public
@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_anonymous_helm(machine: Machine, registry: Registry, namespace: str, helm: str) -> None:
    """A chart of a public namespace is pulled without logging in."""
    machine.write("demo/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    machine.run(helm, "package", machine.home / "demo", "-d", machine.home)
    chart = machine.home / "demo-0.1.0.tgz"
    login = [] if helm == "helm3" else ["--plain-http"]
    who = ["-u", registry.user, "--password-stdin", registry.host]
    machine.run(helm, "registry", "login", *login, *who, stdin=registry.password)
    machine.run(helm, "push", "--plain-http", chart, f"oci://{registry.host}/{namespace}")
    machine.run(helm, "registry", "logout", registry.host)
    reference = [f"oci://{registry.host}/{namespace}/demo", "--version", "0.1.0", "-d", str(machine.folder("pulled"))]
    machine.run(helm, "pull", "--plain-http", *reference)
    assert (machine.home / "pulled/demo-0.1.0.tgz").read_bytes() == chart.read_bytes()


@pytest.mark.tier_b
@pytest.mark.root
@public
def test_anonymous_docker_and_buildkit(docker: Machine, registry: Registry, layout: Layout, namespace: str) -> None:
    """Docker pulls, and BuildKit builds from, a public image without logging in."""
    layout.add_image(running_image(namespace), "v1")
    push_layout(docker, registry, layout, "v1", f"{namespace}/app")
    name = f"{registry.host}/{namespace}/app:v1"
    docker.environment["DOCKER_BUILDKIT"] = "1"
    docker.write("kit/Dockerfile", f'FROM {name}\nRUN ["/bin/busybox", "touch", "/made"]\n')
    docker.run("docker", "build", "--network", "none", "-t", namespace, docker.home / "kit")
    docker.run("docker", "pull", name)
    assert docker.run("docker", "run", "--rm", "--network", "none", name) == f"{namespace}\n"
    docker.run("docker", "tag", namespace, f"{registry.host}/{namespace}/app:v2")
    said = docker.refused("docker", "push", f"{registry.host}/{namespace}/app:v2")
    assert "unauthorized" in said or "denied" in said or "no basic auth" in said


@pytest.mark.tier_b
@pytest.mark.root
@public
def test_anonymous_containerd(
    machine: Machine, containerd_socket: pathlib.Path, registry: Registry, layout: Layout, namespace: str
) -> None:
    """containerd pulls a public image without credentials."""
    layout.add_image(running_image(namespace), "v1")
    push_layout(machine, registry, layout, "v1", f"{namespace}/app")
    ctr = ["ctr", "-a", str(containerd_socket), "-n", namespace]
    name = f"{registry.host}/{namespace}/app:v1"
    machine.run(*ctr, "images", "pull", "--plain-http", name)
    assert machine.run(*ctr, "run", "--rm", name, "one") == f"{namespace}\n"
    machine.run(*ctr, "images", "rm", "--sync", name)


@pytest.mark.tier_a
def test_catalogue_shows_what_one_may_read(
    machine: Machine, registry: Registry, person: Registry, layout: Layout, namespace: str
) -> None:
    """The catalogue has a private repository for its owner, and not for others."""
    layout.add_image(small_image("listed"), "v1")
    push_layout(machine, registry, layout, "v1", f"{namespace}/app")
    name = f"{namespace}/app"
    owned = json.loads(registry.request("GET", "/v2/_catalog?n=1000").text)["repositories"]
    seen = json.loads(person.request("GET", "/v2/_catalog?n=1000").text)["repositories"]
    assert name in owned
    assert name not in (seen or [])

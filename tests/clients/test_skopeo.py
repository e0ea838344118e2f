"""skopeo: copies between layouts and the registry, between repositories, and whole repositories."""

from __future__ import annotations

import concurrent.futures
import json
import random

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.clients.images import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    Image,
    Layout,
    digest_of,
    require_same,
    small_image,
    tar,
)
from tests.clients.machine import Machine
from tests.clients.target import Registry, flags, log_in, pull_layout, push_layout, tls_flags

pytestmark = pytest.mark.tier_a


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_one_platform_round_trip(
    machine: Machine, either: Registry, layout: Layout, repository: str, compression: str
) -> None:
    """An image comes back with the same digest and the same bytes, over HTTP and over TLS."""
    layout.add_image(small_image("one platform", compression=compression), "v1")
    push_layout(machine, either, layout, "v1", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, either, f"{repository}:v1", back)
    require_same((layout, "v1"), (back, "v1"))


def test_many_platforms_round_trip(machine: Machine, either: Registry, layout: Layout, repository: str) -> None:
    """An index with a gzip and a zstd platform comes back whole and byte for byte."""
    platforms = [
        small_image("many", architecture="amd64"),
        small_image("many", architecture="arm64", compression="zstd"),
        small_image("many", architecture="s390x"),
    ]
    digest = layout.add_index(platforms, "multi")["digest"]
    push_layout(machine, either, layout, "multi", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, either, f"{repository}:multi", back)
    require_same((layout, "multi"), (back, "multi"))
    either.require(repository, "multi", layout, digest)


def test_pull_by_digest(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """`name@sha256:…` gives the manifest of that digest."""
    digest = layout.add_image(small_image("by digest"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", repository)
    name = f"docker://{registry.host}/{repository}@{digest}"
    raw = machine.run("skopeo", "inspect", "--raw", *flags(registry), name)
    assert digest_of(raw.encode()) == digest


def test_push_again_sends_no_layer(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """A second push finds every blob there and uploads nothing."""
    layout.add_image(small_image("again"), "v1")
    push_layout(machine, registry, layout, "v1", repository)
    name = f"docker://{registry.host}/{repository}:v2"
    words = ["--debug", "copy", *flags(registry, "dest-")]
    said = machine.run_loud("skopeo", *words, f"oci:{layout.folder}:v1", name)
    assert "POST http" not in said
    assert registry.tags(repository) == ["v1", "v2"]


def test_copy_mounts_between_repositories(
    machine: Machine, registry: Registry, layout: Layout, repository: str
) -> None:
    """A copy from one repository to another moves no layer: the registry mounts it."""
    digest = layout.add_image(small_image("mount"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", f"{repository}/from")
    source, target = (f"docker://{registry.host}/{repository}/{end}:v1" for end in ("from", "to"))
    words = ["--debug", "copy", *flags(registry, "src-"), *flags(registry, "dest-")]
    said = machine.run_loud("skopeo", *words, source, target)
    assert "&mount=sha256" in said
    assert said.count("PATCH http") <= 1  # the config is sent, the layers are not
    registry.require(f"{repository}/to", "v1", layout, digest)


def test_copy_of_a_whole_repository(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """`skopeo sync` carries every tag, indexes with all their platforms."""
    wanted = {tag: layout.add_image(small_image(tag), tag)["digest"] for tag in ("v1", "v2", "latest")}
    wanted["multi"] = layout.add_index([small_image("a"), small_image("b", architecture="arm64")], "multi")["digest"]
    for tag in wanted:
        push_layout(machine, registry, layout, tag, f"{repository}/app")
    source, target = f"{registry.host}/{repository}/app", f"{registry.host}/{repository}/copy"
    ends = ["--src", "docker", "--dest", "docker"]
    machine.run("skopeo", "sync", "--all", *ends, *flags(registry, "src-"), *flags(registry, "dest-"), source, target)
    assert registry.tags(f"{repository}/copy/app") == sorted(wanted)
    for tag, digest in wanted.items():
        registry.require(f"{repository}/copy/app", tag, layout, digest)


def test_sync_through_a_folder(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """A repository goes to a folder and from there into another repository, as into a site without network."""
    digest = layout.add_image(small_image("carried"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", f"{repository}/app")
    carried = machine.folder("carried")
    name = f"{registry.host}/{repository}/app:v1"
    machine.run("skopeo", "sync", "--all", "--src", "docker", "--dest", "dir", *flags(registry, "src-"), name, carried)
    target = f"{registry.host}/{repository}/site"
    machine.run(
        "skopeo", "sync", "--all", "--src", "dir", "--dest", "docker", *flags(registry, "dest-"), carried, target
    )
    registry.require(f"{repository}/site/app", "v1", layout, digest)


def test_list_and_inspect(machine: Machine, either: Registry, layout: Layout, repository: str) -> None:
    """`list-tags` and `inspect` show what was pushed."""
    digest = layout.add_image(small_image("listed"), "v1")["digest"]
    layout.add_image(small_image("listed too"), "v2")
    for tag in ("v1", "v2"):
        push_layout(machine, either, layout, tag, repository)
    name = f"docker://{either.host}/{repository}"
    assert json.loads(machine.run("skopeo", "list-tags", *flags(either), name))["Tags"] == ["v1", "v2"]
    inspected = json.loads(machine.run("skopeo", "inspect", *flags(either), f"{name}:v1"))
    assert inspected["Digest"] == digest
    assert inspected["RepoTags"] == ["v1", "v2"]
    assert len(inspected["Layers"]) == 2


def test_delete(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """`skopeo delete` removes the manifest and its tag; the other image stays."""
    gone = layout.add_image(small_image("goes"), "goes")["digest"]
    stays = layout.add_image(small_image("stays"), "stays")["digest"]
    for tag in ("goes", "stays"):
        push_layout(machine, registry, layout, tag, repository)
    machine.run("skopeo", "delete", *flags(registry), f"docker://{registry.host}/{repository}:goes")
    assert registry.manifest(repository, "goes").status_code == 404
    assert registry.manifest(repository, gone).status_code == 404
    registry.require(repository, "stays", layout, stays)


def test_push_after_delete(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """What was deleted can be pushed again, whatever became of its blobs."""
    digest = layout.add_image(small_image("returns"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", repository)
    machine.run("skopeo", "delete", *flags(registry), f"docker://{registry.host}/{repository}:v1")
    push_layout(machine, registry, layout, "v1", repository)
    registry.require(repository, "v1", layout, digest)


def test_login_keeps_and_logout_forgets(machine: Machine, either: Registry, layout: Layout, repository: str) -> None:
    """Credentials given to `login` serve the push, and `logout` takes them away."""
    layout.add_image(small_image("login"), "v1")
    log_in(machine, either)
    push = tls_flags(either, "dest-")
    target = f"docker://{either.host}/{repository}:v1"
    machine.run("skopeo", "copy", *push, f"oci:{layout.folder}:v1", target)
    machine.run("skopeo", "logout", either.host)
    assert "auth" in machine.refused("skopeo", "copy", *push, f"oci:{layout.folder}:v1", target).lower()


def test_wrong_password_is_refused(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """A push with a wrong password fails as an authentication error, and creates nothing."""
    layout.add_image(small_image("refused"), "v1")
    words = ["--dest-tls-verify=false", "--dest-creds", f"{registry.user}:wrong"]
    said = machine.refused(
        "skopeo", "copy", *words, f"oci:{layout.folder}:v1", f"docker://{registry.host}/{repository}:v1"
    )
    assert "authentication required" in said or "unauthorized" in said or "invalid username/password" in said
    assert registry.tags(repository) == []


def test_unknown_authority_is_refused(machine: Machine, secure: Registry, layout: Layout, repository: str) -> None:
    """Without the private authority's certificate the client refuses the server."""
    layout.add_image(small_image("no trust"), "v1")
    target = f"docker://{secure.host}/{repository}:v1"
    said = machine.refused("skopeo", "copy", "--dest-creds", secure.credentials, f"oci:{layout.folder}:v1", target)
    assert "certificate signed by unknown authority" in said


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_certificate_by_environment(machine: Machine, secure: Registry, repository: str, name: str) -> None:
    """`SSL_CERT_FILE` is enough for a Go client, by name and by address."""
    machine.environment["SSL_CERT_FILE"] = str(secure.ca)
    target = f"docker://{secure.at(name).host}/{repository}:none"
    said = machine.refused("skopeo", "inspect", "--creds", secure.credentials, target)
    assert "x509" not in said
    assert "unknown" in said


def test_docker_schema_2(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """Converted to Docker's media types, one image and a list of platforms are stored as such."""
    layout.add_image(small_image("v2s2"), "one")
    layout.add_index([small_image("v2s2"), small_image("v2s2", architecture="arm64")], "list")
    for tag, media_type in (("one", DOCKER_MANIFEST), ("list", DOCKER_MANIFEST_LIST)):
        words = ["--all", "--format", "v2s2", *flags(registry, "dest-")]
        target = f"docker://{registry.host}/{repository}:{tag}"
        machine.run("skopeo", "copy", *words, f"oci:{layout.folder}:{tag}", target)
        assert registry.manifest(repository, tag).headers["Content-Type"] == media_type
    back = Layout(machine.home / "back")
    pull_layout(machine, registry, f"{repository}:list", back)
    assert len(back.closure(back.resolve("list"))) >= 6


def test_docker_schema_1_is_refused(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """The obsolete signed manifest is refused as the client's mistake, not as the server's."""
    layout.add_image(small_image("v2s1"), "v1")
    words = ["--format", "v2s1", *flags(registry, "dest-")]
    target = f"docker://{registry.host}/{repository}:v1"
    said = machine.refused("skopeo", "copy", *words, f"oci:{layout.folder}:v1", target)
    assert "500 Internal" not in said
    assert registry.tags(repository) == []


def test_encrypted_layers(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """Layers encrypted for a key are stored as they are, and only the key opens them."""
    layout.add_image(small_image("secret"), "v1")
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    machine.write("public.pem", public)
    machine.write("private.pem", private)
    name = f"docker://{registry.host}/{repository}:v1"
    seal = ["--encryption-key", f"jwe:{machine.home / 'public.pem'}"]
    machine.run("skopeo", "copy", *seal, *flags(registry, "dest-"), f"oci:{layout.folder}:v1", name)
    assert "+encrypted" in registry.manifest(repository, "v1").text
    back = Layout(machine.home / "back")
    opened = ["--decryption-key", str(machine.home / "private.pem"), *flags(registry, "src-")]
    machine.run("skopeo", "copy", *opened, name, f"oci:{back.folder}:v1")
    plain = {digest_of(content) for content in layout.closure(layout.resolve("v1")).values()}
    assert {layer["digest"] for layer in json.loads(back.read(back.resolve("v1")))["layers"]} <= plain


def test_mirror_configuration(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """A mirror in registries.conf that points at a hosted prefix serves images of another registry's name."""
    digest = layout.add_image(small_image("mirrored"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", f"{repository}/library/app")
    configuration = machine.write(
        "registries.conf",
        f'[[registry]]\nprefix = "mirrored.test"\nlocation = "mirrored.test"\n'
        f'[[registry.mirror]]\nlocation = "{registry.host}/{repository}"\ninsecure = true\n',
    )
    log_in(machine, registry)
    back = Layout(machine.home / "back")
    words = ["--registries-conf", str(configuration)]
    machine.run("skopeo", *words, "copy", "docker://mirrored.test/library/app:v1", f"oci:{back.folder}:v1")
    require_same((layout, "v1"), (back, "v1"))
    assert back.resolve("v1") == digest


def test_one_segment_name(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """`host/name:tag`, without a namespace, is pushed and pulled as asked."""
    name = repository.rpartition("/")[2]
    digest = layout.add_image(small_image("short name"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", name)
    registry.require(name, "v1", layout, digest)


def test_tag_moves(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """Pushing another image to a tag moves it, and the first stays reachable by digest."""
    first = layout.add_image(small_image("first"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", repository)
    second = layout.add_image(small_image("second"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", repository)
    assert registry.manifest(repository, "v1").headers["Docker-Content-Digest"] == second
    assert registry.manifest(repository, first).status_code == 200


def test_large_layer(machine: Machine, either: Registry, layout: Layout, repository: str) -> None:
    """A layer of 32 MiB that nothing compresses goes both ways."""
    layout.add_image(Image((tar({"random": random.Random(7).randbytes(32 << 20)}),)), "v1")
    push_layout(machine, either, layout, "v1", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, either, f"{repository}:v1", back)
    require_same((layout, "v1"), (back, "v1"))


def test_pushes_at_once(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """Six clients push images that share their layers, into one repository at once, and all of them arrive."""
    shared = small_image("at once").layers
    tags = [f"v{number}" for number in range(6)]
    digests = {tag: layout.add_image(Image((*shared, tar({"etc/own": tag.encode()}))), tag)["digest"] for tag in tags}
    with concurrent.futures.ThreadPoolExecutor(len(tags)) as pool:
        list(pool.map(lambda tag: push_layout(machine, registry, layout, tag, repository), tags))
    assert registry.tags(repository) == tags
    for tag, digest in digests.items():
        registry.require(repository, tag, layout, digest)


def test_many_layers(machine: Machine, registry: Registry, layout: Layout, repository: str) -> None:
    """An image of 127 layers, Docker's limit, goes both ways."""
    layers = tuple(tar({f"layer/{number}": str(number).encode()}) for number in range(127))
    digest = layout.add_image(Image(layers), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, registry, f"{repository}:v1", back)
    require_same((layout, "v1"), (back, "v1"))
    assert back.resolve("v1") == digest

"""The Dev Container CLI: features and templates as OCI artifacts, manifests sent in chunks."""

from __future__ import annotations

import base64
import json

import pytest

from tests.clients.images import digest_of
from tests.clients.machine import Machine
from tests.clients.target import Registry

pytestmark = pytest.mark.tier_a


def publish(machine: Machine, registry: Registry, kind: str, repository: str) -> None:
    """Publish the features or templates of `src`; the CLI takes plain HTTP for `localhost` alone."""
    encoded = base64.b64encode(registry.credentials.encode()).decode()
    credentials = json.dumps({"auths": {registry.at("localhost").host: {"auth": encoded}}})
    machine.write(".docker/config.json", credentials)
    machine.write("docker/config.json", credentials)
    target = ["-r", registry.at("localhost").host, "-n", repository]
    machine.run("devcontainer", kind, "publish", machine.home / "src", *target, limit=90)


def write_feature(machine: Machine, version: str) -> None:
    """One feature that says hello."""
    feature = {"id": "hello", "version": version, "name": "Hello", "options": {}}
    machine.write("src/hello/devcontainer-feature.json", json.dumps(feature))
    machine.write("src/hello/install.sh", "#!/bin/sh\necho hello\n")


def test_publish_features(machine: Machine, registry: Registry, repository: str) -> None:
    """A feature is published under its version, its shorter versions and `latest`, and a collection beside it."""
    write_feature(machine, "1.0.2")
    publish(machine, registry, "features", repository)
    name = f"{repository}/hello"
    assert registry.tags(name) == ["1", "1.0", "1.0.2", "latest"]
    digests = {registry.manifest(name, tag).headers["Docker-Content-Digest"] for tag in registry.tags(name)}
    assert len(digests) == 1
    manifest = registry.manifest(name, "1.0.2")
    assert digest_of(manifest.content) in digests
    assert registry.blob(name, manifest.json()["layers"][0]["digest"])
    assert registry.tags(repository) == ["latest"]


def test_publish_a_second_version(machine: Machine, registry: Registry, repository: str) -> None:
    """A later version moves `1` and `latest`, and is read back by `features info`."""
    for version in ("1.0.2", "1.1.0"):
        write_feature(machine, version)
        publish(machine, registry, "features", repository)
    name = f"{registry.at('localhost').host}/{repository}/hello"
    words = ["features", "info", "--output-format", "json"]
    tags = json.loads(machine.run("devcontainer", *words, "tags", name))["publishedTags"]
    assert sorted(tags) == ["1", "1.0", "1.0.2", "1.1", "1.1.0", "latest"]
    found = json.loads(machine.run("devcontainer", *words, "manifest", f"{name}:1"))
    wanted = registry.manifest(f"{repository}/hello", "1.1.0")
    assert found["canonicalId"].endswith(wanted.headers["Docker-Content-Digest"])


def test_publish_and_apply_a_template(machine: Machine, registry: Registry, repository: str) -> None:
    """A template is published, and applied to a project from the registry."""
    template = {"id": "plain", "version": "1.0.0", "name": "Plain", "options": {}}
    machine.write("src/plain/devcontainer-template.json", json.dumps(template))
    machine.write("src/plain/.devcontainer/devcontainer.json", '{"image": "example"}')
    publish(machine, registry, "templates", repository)
    project = machine.folder("project")
    name = f"{registry.at('localhost').host}/{repository}/plain:1"
    machine.run("devcontainer", "templates", "apply", "-w", project, "-t", name, limit=90)
    assert json.loads((project / ".devcontainer/devcontainer.json").read_text()) == {"image": "example"}

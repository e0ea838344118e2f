"""@sigstore/oci: signatures and attestations attached to an image through the referrers API."""

from __future__ import annotations

import base64
import json

import pytest

from tests.clients.images import Layout, small_image
from tests.clients.machine import PROGRAMS, STORE, Machine, need_file
from tests.clients.target import Registry, push_layout

pytestmark = pytest.mark.tier_a
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_attach_to_an_image(machine: Machine, registry: Registry, layout: Layout, repository: str, name: str) -> None:
    """The artifact appears among the image's referrers, and no fallback tag is made."""
    need_file(STORE / "node/node_modules/@sigstore/oci", "a")
    digest = layout.add_image(small_image("signed"), "v1")["digest"]
    push_layout(machine, registry, layout, "v1", repository)
    host = registry.at(name).host
    encoded = base64.b64encode(registry.credentials.encode()).decode()
    machine.write(".docker/config.json", json.dumps({"auths": {host: {"auth": encoded}}}))
    machine.environment["NODE_PATH"] = str(STORE / "node/node_modules")
    words = [f"{host}/{repository}", "v1", BUNDLE, '{"bundle": true}']
    answer = json.loads(machine.run("node", PROGRAMS / "sigstore_attach.js", *words))
    assert answer["imageDigest"] == digest

    referrers = registry.request("GET", f"/v2/{repository}/referrers/{digest}").json()["manifests"]
    assert [entry["digest"] for entry in referrers] == [answer["artifact"]["digest"]]
    assert referrers[0]["artifactType"] == BUNDLE
    assert referrers[0]["annotations"]["dev.example.note"] == "attached"
    assert registry.tags(repository) == ["v1"]
    layer = registry.manifest(repository, referrers[0]["digest"]).json()["layers"][0]
    assert registry.blob(repository, layer["digest"]) == b'{"bundle": true}'

"""Debian's docker-registry takes our tokens: it sends its clients to `/token` here, and verifies what they bring."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.clients.images import Layout, require_same, small_image
from tests.clients.machine import Machine, ended
from tests.clients.target import Registry, Response, pull_layout, push_layout, wait_until_serving
from tests.support.keys import decode, encode
from tests.support.server import free_port

pytestmark = pytest.mark.tier_a

CONFIGURATION = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: '{host}'}}
auth:
  token:
    realm: {issuer}/token
    service: {host}
    issuer: {issuer}
    rootcertbundle: {bundle}
"""


@pytest.fixture
def bundle(machine: Machine, registry: Registry) -> pathlib.Path:
    """The certificates that are published."""
    answer = registry.request("GET", "/.well-known/token-certificates.pem", auth=None)
    assert answer.status_code == 200
    return machine.write("bundle.pem", answer.content)


@pytest.fixture
def reference(machine: Machine, registry: Registry, bundle: pathlib.Path) -> Iterator[Registry]:
    """The reference registry, which lets in whoever brings a token of ours that is for it."""
    host = f"127.0.0.1:{free_port()}"
    text = CONFIGURATION.format(folder=machine.folder("content"), host=host, issuer=registry.url, bundle=bundle)
    # The reference takes every REGISTRY_… variable for one of its settings, skopeo's credentials file too.
    own = Machine(machine.folder("reference"))
    del own.environment["REGISTRY_AUTH_FILE"]
    process = own.start("docker-registry", "serve", machine.write("config.yml", text), log=machine.home / "log")
    with ended(process):
        found = Registry(host, registry.user, registry.password)
        wait_until_serving(found)
        yield found


def token(registry: Registry, service: str, scope: str) -> str:
    """What `/token` here gives for a service and a scope."""
    answer = registry.request("GET", "/token", params={"service": service, "scope": scope})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def by_token(registry: Registry, method: str, path: str, given: str) -> Response:
    """One request with a token."""
    return registry.request(method, path, auth=None, headers={"Authorization": f"Bearer {given}"})


def test_a_push_and_a_pull(
    machine: Machine, registry: Registry, reference: Registry, layout: Layout, repository: str
) -> None:
    """skopeo follows the challenge to our token service, and what it gets there opens the reference."""
    layout.add_image(small_image("verified"), "v1")
    push_layout(machine, reference, layout, "v1", repository)
    back = Layout(machine.home / "back")
    pull_layout(machine, reference, f"{repository}:v1", back)
    require_same((layout, "v1"), (back, "v1"))
    assert registry.manifest(repository, "v1").status_code == 404


def test_a_token_opens_what_it_names(reference: Registry, registry: Registry, repository: str) -> None:
    """A pull is no push, one repository no other, and a token without access only proves who it is."""
    pull = token(registry, reference.host, f"repository:{repository}:pull")
    assert by_token(reference, "GET", f"/v2/{repository}/tags/list", pull).status_code == 404
    assert by_token(reference, "POST", f"/v2/{repository}/blobs/uploads/", pull).status_code == 401
    assert by_token(reference, "GET", f"/v2/{repository}x/tags/list", pull).status_code == 401
    push = token(registry, reference.host, f"repository:{repository}:pull,push")
    assert by_token(reference, "POST", f"/v2/{repository}/blobs/uploads/", push).status_code == 202


def test_an_altered_token_is_refused(reference: Registry, registry: Registry, repository: str) -> None:
    """Another claim, another header, another signature, none."""
    scope = f"repository:{repository}:pull"
    good = token(registry, reference.host, scope)
    header, payload, signature = good.split(".")
    path = f"/v2/{repository}/tags/list"
    assert by_token(reference, "GET", path, good).status_code == 404
    widened = encode(decode(payload).replace(b'["pull"]', b'["pull","push"]'))
    for forged in (
        f"{header}.{widened}.{signature}",
        f"{encode(decode(header).replace(b'ES256', b'none'))}.{payload}.",
        f"{encode(decode(header).replace(b'ES256', b'HS256'))}.{payload}.{signature}",
        f"{header}.{payload}.{'A' * len(signature)}",
        f"{header}.{payload}.{signature[:-6]}",
    ):
        assert by_token(reference, "GET", path, forged).status_code == 401
        assert by_token(registry, "GET", path, forged).status_code == 401


def test_a_token_is_for_one_service(reference: Registry, registry: Registry, repository: str) -> None:
    """What is for the reference does nothing here, so that whoever runs it can do nothing with what it is shown."""
    scope = f"repository:{repository}:pull"
    theirs, ours = token(registry, reference.host, scope), token(registry, registry.host, scope)
    assert by_token(reference, "GET", "/v2/", theirs).status_code == 200
    assert by_token(reference, "GET", "/v2/", ours).status_code == 401
    assert by_token(registry, "GET", "/v2/", ours).status_code == 200
    assert by_token(registry, "GET", "/v2/", theirs).status_code == 401


def test_a_refresh_token_opens_nothing(reference: Registry, registry: Registry) -> None:
    """It is for our token service alone."""
    query = {"service": reference.host, "offline_token": "true"}
    refresh = registry.request("GET", "/token", params=query).json()["refresh_token"]
    assert by_token(reference, "GET", "/v2/", refresh).status_code == 401

"""python-dxf: plain blobs under aliases, over TLS, with tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.images import digest_of
from tests.clients.machine import Machine
from tests.clients.target import Registry, as_environment

pytestmark = pytest.mark.tier_a


def dxf(machine: Machine, registry: Registry, repository: str, *words: str) -> Any:
    """Run the python-dxf program against a registry and read its answer."""
    machine.environment |= as_environment(registry)
    return json.loads(machine.python("dxf_client.py", repository, *words))


def test_blobs_under_an_alias(machine: Machine, secure: Registry, repository: str) -> None:
    """A large and a small blob under an alias come back in order, and aliases are listed page by page."""
    contents = ["the first blob" * 20_000, "the second blob"]
    paths = [str(machine.write(f"blob-{number}", content)) for number, content in enumerate(contents)]
    digests = dxf(machine, secure, repository, "push", "v1", *paths)
    assert digests == [digest_of(content.encode()) for content in contents]
    assert dxf(machine, secure, repository, "push", "v2", *paths) == digests
    assert dxf(machine, secure, repository, "pull", "v1") == contents
    assert dxf(machine, secure, repository, "aliases") == ["v1", "v2"]


def test_mount(machine: Machine, secure: Registry, repository: str) -> None:
    """A blob of one repository is mounted into another."""
    path = machine.write("blob", "shared by two")
    (digest,) = dxf(machine, secure, f"{repository}/from", "push", "v1", str(path))
    assert dxf(machine, secure, f"{repository}/to", "mount", f"{repository}/from", digest) == digest
    assert secure.blob(f"{repository}/to", digest) == b"shared by two"


def test_delete_alias(machine: Machine, secure: Registry, repository: str) -> None:
    """A deleted alias is no longer listed."""
    for alias in ("keep", "drop"):
        dxf(machine, secure, repository, "push", alias, str(machine.write(alias, f"blob of {alias}")))
    dxf(machine, secure, repository, "delete", "drop")
    assert dxf(machine, secure, repository, "aliases") == ["keep"]


def test_list_repositories(machine: Machine, secure: Registry, repository: str) -> None:
    """The catalogue, read in pages of two, has what was pushed."""
    names = [f"{repository}/{number}" for number in range(5)]
    for name in names:
        dxf(machine, secure, name, "push", "v1", str(machine.write("blob", name)))
    listed = dxf(machine, secure, repository, "repositories")
    assert set(names) <= set(listed)

"""Docker Content Trust: a notary server beside the registry, signed pushes, pulls by the signed digest."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.clients.authority import Authority
from tests.clients.machine import Machine, ended, wait_until_answers
from tests.clients.target import Registry
from tests.support.server import free_port

pytestmark = [pytest.mark.tier_c, pytest.mark.root]


@pytest.fixture
def notary(docker: Machine, authority: Authority) -> Iterator[str]:
    """A notary server with a certificate of the private authority, which this machine's docker trusts."""
    host = f"localhost:{free_port()}"
    certificates = {"tls_cert_file": str(authority.certificate), "tls_key_file": str(authority.key)}
    settings = {
        "server": {"http_addr": host.replace("localhost", "127.0.0.1"), **certificates},
        "trust_service": {"type": "local", "hostname": "", "port": "", "key_algorithm": "ed25519"},
        "storage": {"backend": "memory"},
        "logging": {"level": "warn"},
    }
    configuration = docker.write("notary.json", json.dumps(settings))
    docker.write(f"docker/tls/{host}/ca.crt", authority.ca.read_bytes())
    docker.environment |= {
        "DOCKER_CONTENT_TRUST_SERVER": f"https://{host}",
        "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": "root-passphrase",
        "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE": "repository-passphrase",
    }
    log = docker.home / "notary.log"
    ping = ["curl", "--silent", "--fail", "--cacert", str(authority.ca), f"https://{host}/_notary_server/health"]
    with ended(docker.start("notary-server", "-config", configuration, log=log)) as process:
        wait_until_answers(docker, process, log, *ping)
        yield host


def test_signed_push_and_pull(docker: Machine, registry: Registry, notary: str, repository: str) -> None:
    """With content trust on, the push is signed, the pull takes the signed digest, and an unsigned tag is refused."""
    docker.run("docker", "login", "-u", registry.user, "--password-stdin", registry.host, stdin=registry.password)
    name = f"{registry.host}/{repository}"
    for tag in ("signed", "unsigned"):
        context = docker.build_context(f"{tag} {repository}")
        docker.run("docker", "build", "--network", "none", "-t", f"{name}:{tag}", context)
    docker.run("docker", "push", f"{name}:unsigned")
    docker.environment["DOCKER_CONTENT_TRUST"] = "1"
    docker.run("docker", "push", f"{name}:signed", limit=90)
    (inspected,) = json.loads(docker.run("docker", "trust", "inspect", f"{name}:signed"))
    stored = registry.manifest(repository, "signed").headers["Docker-Content-Digest"]
    assert inspected["SignedTags"][0]["Digest"] == stored.partition(":")[2]
    docker.run("docker", "pull", f"{name}:signed")
    assert "No valid trust data for unsigned" in docker.refused("docker", "pull", f"{name}:unsigned")

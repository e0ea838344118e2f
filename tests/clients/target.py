"""The registry under test as a client sees it: an address, a user, and perhaps a private certificate authority."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

import requests

from tests.clients import images
from tests.clients.machine import ClientFailedError, Machine

Response = requests.Response


@dataclasses.dataclass(frozen=True)
class Registry:
    """Where to push to, and as whom."""

    host: str
    user: str
    password: str
    ca: pathlib.Path | None = None

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"{'https' if self.ca else 'http'}://{self.host}"

    @property
    def port(self) -> int:
        """The port alone."""
        return int(self.host.rpartition(":")[2])

    @property
    def credentials(self) -> str:
        """`user:password`, as many clients take them."""
        return f"{self.user}:{self.password}"

    def at(self, name: str) -> Registry:
        """The same registry called by another host name."""
        return dataclasses.replace(self, host=f"{name}:{self.port}")

    def request(self, method: str, path: str, **options: Any) -> Response:
        """One request with Basic authentication; `auth=None` for an anonymous one."""
        options.setdefault("auth", (self.user, self.password))
        options.setdefault("timeout", 30)
        with requests.Session() as session:
            # The machine's proxies and netrc are none of the registry's business.
            session.trust_env = False
            session.verify = str(self.ca) if self.ca else True
            return session.request(method, self.url + path, **options)

    def manifest(self, repository: str, reference: str) -> Response:
        """One manifest of any media type."""
        return self.request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": images.ANY_MANIFEST})

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted; none where it does not exist."""
        answer = self.request("GET", f"/v2/{repository}/tags/list")
        return sorted(answer.json().get("tags") or []) if answer.status_code == 200 else []

    def blob(self, repository: str, digest: str) -> bytes:
        """The bytes of one blob, which must be there and be what its digest says."""
        answer = self.request("GET", f"/v2/{repository}/blobs/{digest}")
        assert answer.status_code == 200, answer.text
        assert images.digest_of(answer.content) == digest
        return answer.content

    def require(self, repository: str, tag: str, layout: images.Layout, digest: str) -> None:
        """Assert that the tag is this manifest of the layout, and all below it, byte for byte."""
        answer = self.manifest(repository, tag)
        assert answer.status_code == 200, answer.text
        assert images.digest_of(answer.content) == answer.headers["Docker-Content-Digest"] == digest
        documents = {entry["digest"] for entry in answer.json().get("manifests", [])} | {digest}
        for wanted, content in layout.closure(digest).items():
            if wanted in documents:
                assert self.manifest(repository, wanted).content == content
            else:
                assert self.blob(repository, wanted) == content


def wait_until_serving(registry: Registry, limit: float = 30) -> None:
    """Wait until `/v2/` answers anything at all."""
    deadline = time.monotonic() + limit
    while True:
        try:
            registry.request("GET", "/v2/")
        except requests.RequestException as error:
            if time.monotonic() > deadline:
                raise ClientFailedError(f"{registry.url} does not answer: {error}") from error
            time.sleep(0.05)
        else:
            return


def as_environment(registry: Registry) -> dict[str, str]:
    """What `programs/` read to find the registry."""
    found = {"REGISTRY": registry.host, "REGISTRY_USER": registry.user, "REGISTRY_PASSWORD": registry.password}
    if registry.ca:
        found |= {"REGISTRY_CA": str(registry.ca), "REQUESTS_CA_BUNDLE": str(registry.ca)}
    return found


def tls_flags(registry: Registry, side: str = "") -> list[str]:
    """What makes skopeo, buildah and podman accept this door; `side` is `src-`, `dest-` or nothing."""
    return ["--" + side + "cert-dir", str(registry.ca.parent)] if registry.ca else ["--" + side + "tls-verify=false"]


def flags(registry: Registry, side: str = "") -> list[str]:
    """The same, with the user's credentials."""
    return [*tls_flags(registry, side), "--" + side + "creds", registry.credentials]


def log_in(machine: Machine, registry: Registry) -> pathlib.Path:
    """Let skopeo write the credentials file that skopeo, buildah and podman share."""
    who = ["-u", registry.user, "--password-stdin", registry.host]
    machine.run("skopeo", "login", *tls_flags(registry), *who, stdin=registry.password)
    return pathlib.Path(machine.environment["REGISTRY_AUTH_FILE"])


def push_layout(machine: Machine, registry: Registry, layout: images.Layout, tag: str, repository: str) -> None:
    """Put a tag of a layout, with all of its platforms, into the registry by skopeo."""
    destination = f"docker://{registry.host}/{repository}:{tag}"
    machine.run("skopeo", "copy", "--all", *flags(registry, "dest-"), f"oci:{layout.folder}:{tag}", destination)


def pull_layout(machine: Machine, registry: Registry, name: str, into: images.Layout) -> None:
    """Copy `repository:tag` from the registry into a layout, with all platforms."""
    destination = f"oci:{into.folder}:{name.rpartition(':')[2]}"
    machine.run("skopeo", "copy", "--all", *flags(registry, "src-"), f"docker://{registry.host}/{name}", destination)

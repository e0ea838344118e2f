"""What clients put on the wire, request by request: challenges, token requests and uploads without a client."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from tests.clients import images
from tests.clients.target import Registry, Response

TEXT = b"the only blob of this test"


@dataclasses.dataclass(frozen=True)
class Challenge:
    """A `WWW-Authenticate: Bearer` answer, read as clients read it."""

    realm: str
    service: str
    scope: str

    @property
    def path(self) -> str:
        """The realm without the address, which `Registry.request` adds."""
        return re.sub(r"^https?://[^/]+", "", self.realm)


def challenge(answer: Response) -> Challenge:
    """The challenge of a 401; anything else is an error of the test."""
    assert answer.status_code == 401, f"{answer.status_code} {answer.text}"
    header = answer.headers["WWW-Authenticate"]
    bearer = re.search(r'Bearer ((?:[a-z_]+="[^"]*",? ?)+)', header)
    assert bearer, header
    found = dict(re.findall(r'([a-z_]+)="([^"]*)"', bearer[1]))
    return Challenge(found["realm"], found["service"], found.get("scope", ""))


def ping(registry: Registry) -> Challenge:
    """The challenge of an anonymous `GET /v2/`, which docker and c/image begin with."""
    return challenge(registry.request("GET", "/v2/", auth=None))


def token_of(answer: Response) -> str:
    """The access token of a token answer, which must have it under both of its names."""
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
    document = answer.json()
    assert document["token"] == document["access_token"]
    assert document["expires_in"] >= 60
    token: str = document["token"]
    return token


def get_token(registry: Registry, *scopes: str, basic: bool = True, **fields: str) -> Response:
    """A token by GET, each scope a parameter of its own."""
    query: list[tuple[str, str]] = [("service", ping(registry).service), *fields.items()]
    query += [("scope", scope) for scope in scopes]
    options: dict[str, Any] = {} if basic else {"auth": None}
    return registry.request("GET", ping(registry).path, params=query, **options)


def post_token(registry: Registry, scope: str, **fields: str) -> Response:
    """A token by POST, all scopes in one parameter; no credentials but those in the form."""
    form = {"service": ping(registry).service, "client_id": "tests", **fields}
    if scope:
        form["scope"] = scope
    return registry.request("POST", ping(registry).path, data=form, auth=None)


def bearer(token: str, **headers: str) -> dict[str, Any]:
    """The options of a request that carries this token and no Basic pair."""
    return {"auth": None, "headers": {"Authorization": f"Bearer {token}", **headers}}


def start_upload(registry: Registry, repository: str, token: str, query: str = "") -> Response:
    """`POST …/blobs/uploads/`."""
    return registry.request("POST", f"/v2/{repository}/blobs/uploads/{query}", **bearer(token))


def location(registry: Registry, answer: Response, digest: str = "") -> str:
    """The path to continue at, with the digest joined to it as clients join it."""
    assert answer.status_code == 202, f"{answer.status_code} {answer.text}"
    path = answer.headers["Location"].removeprefix(registry.url)
    if not digest:
        return path
    return f"{path}{'&' if '?' in path else '?'}digest={digest}"


def push_blob(registry: Registry, repository: str, token: str, content: bytes = TEXT) -> str:
    """Upload one blob in one piece and answer its digest."""
    digest = images.digest_of(content)
    path = location(registry, start_upload(registry, repository, token), digest)
    answer = registry.request("PUT", path, data=content, **bearer(token))
    assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
    return digest


def manifest_of(config: str, layer: str, size: int) -> bytes:
    """A manifest of one config and one layer, which may be the same blob."""
    return images.render(
        {
            "schemaVersion": 2,
            "mediaType": images.IMAGE_MANIFEST,
            "config": {"mediaType": images.IMAGE_CONFIG, "digest": config, "size": size},
            "layers": [{"mediaType": images.LAYER, "digest": layer, "size": size}],
        }
    )


def push_manifest(registry: Registry, repository: str, token: str, tag: str = "v1") -> str:
    """Upload a blob and a manifest of it and answer the manifest's digest."""
    digest = push_blob(registry, repository, token)
    content = manifest_of(digest, digest, len(TEXT))
    options = bearer(token, **{"Content-Type": images.IMAGE_MANIFEST})
    answer = registry.request("PUT", f"/v2/{repository}/manifests/{tag}", data=content, **options)
    assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
    return answer.headers["Docker-Content-Digest"]

"""The route table: every endpoint of the specification with its id and the action it needs."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from entrepot.domain.access import Action
from entrepot.domain.names import REPOSITORY, parse_repository_name
from entrepot.formats.oci import (
    blobs,
    catalog,
    errors,
    manifests,
    ping,
    referrers,
    tags,
    token,
    uploads,
)
from entrepot.wire.face import Grammar
from entrepot.wire.messages import Request
from entrepot.wire.routing import NAME, Endpoint

PUSH: Final = "pull,push"
DELETE: Final = "pull,push,delete"

ENDPOINTS: Final = [
    Endpoint("GET", "/v2/", Action.PING, ping.answer, "end-1", ""),
    Endpoint("HEAD", "/v2/", Action.PING, ping.answer, "end-1", ""),
    Endpoint("GET", "/v2", Action.PING, ping.answer, "end-1", ""),
    Endpoint("GET", "/v2/{name}/blobs/{digest}", Action.PULL, blobs.pull, "end-2"),
    # Who asks by HEAD is about to push: oras-py never asks for more than this challenge names.
    Endpoint("HEAD", "/v2/{name}/blobs/{digest}", Action.PULL, blobs.check, "end-2", PUSH),
    Endpoint("GET", "/v2/{name}/manifests/{reference}", Action.PULL, manifests.pull, "end-3"),
    Endpoint("HEAD", "/v2/{name}/manifests/{reference}", Action.PULL, manifests.check, "end-3"),
    Endpoint("POST", "/v2/{name}/blobs/uploads/", Action.PUSH, uploads.start, "end-4a, end-4b, end-4c, end-11", PUSH),
    Endpoint("POST", "/v2/{name}/blobs/uploads", Action.PUSH, uploads.start, "end-4a, end-4b, end-4c, end-11", PUSH),
    Endpoint("PATCH", "/v2/{name}/blobs/uploads/{upload}", Action.PUSH, uploads.append, "end-5", PUSH),
    Endpoint("PUT", "/v2/{name}/blobs/uploads/{upload}", Action.PUSH, uploads.finish, "end-6", PUSH),
    Endpoint("PUT", "/v2/{name}/manifests/{reference}", Action.PUSH, manifests.push, "end-7a, end-7b", PUSH),
    Endpoint("GET", "/v2/{name}/tags/list", Action.PULL, tags.list_names, "end-8a, end-8b"),
    Endpoint("HEAD", "/v2/{name}/tags/list", Action.PULL, tags.list_names, "end-8a, end-8b"),
    Endpoint("DELETE", "/v2/{name}/manifests/{reference}", Action.DELETE, manifests.delete, "end-9", DELETE),
    Endpoint("DELETE", "/v2/{name}/blobs/{digest}", Action.DELETE, blobs.delete, "end-10", DELETE),
    Endpoint("GET", "/v2/{name}/referrers/{digest}", Action.PULL, referrers.list_page, "end-12a, end-12b"),
    Endpoint("HEAD", "/v2/{name}/referrers/{digest}", Action.PULL, referrers.list_page, "end-12a, end-12b"),
    Endpoint("GET", "/v2/{name}/blobs/uploads/{upload}", Action.PUSH, uploads.show, "end-13", PUSH),
    Endpoint("HEAD", "/v2/{name}/blobs/uploads/{upload}", Action.PUSH, uploads.show, "end-13", PUSH),
    Endpoint("DELETE", "/v2/{name}/blobs/uploads/{upload}", Action.PUSH, uploads.cancel, "end-14", PUSH),
    Endpoint("GET", "/v2/_catalog", Action.CATALOG, catalog.list_page, "docker: catalog", ""),
    Endpoint("HEAD", "/v2/_catalog", Action.CATALOG, catalog.list_page, "docker: catalog", ""),
    Endpoint("GET", "/token", Action.TOKEN, token.get, "docker: token", ""),
    Endpoint("POST", "/token", Action.TOKEN, token.post, "docker: oauth2 token", ""),
]


def identify(request: Request) -> None:
    """Parse the repository name, with the namespace `library` before a single segment, and note the tag, if any."""
    request.resource = parse_repository_name(request.parameters[NAME])
    reference = request.parameters.get("reference", "")
    request.tag = "" if ":" in reference else reference


def scope_of(request: Request, endpoint: Endpoint) -> str:
    """The scope that a 401 names, with the repository as the client wrote it."""
    if endpoint.needs is Action.CATALOG:
        return "registry:catalog:*"
    if not endpoint.challenge or NAME not in request.parameters:
        return ""
    return f"repository:{request.parameters[NAME]}:{endpoint.challenge}{_mount_scope(request)}"


def _mount_scope(request: Request) -> str:
    # Some clients ask for what a challenge names and no more: without the source in it they could never mount.
    values = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
    source = values.get("from", "")
    return f" repository:{source}:pull" if "mount" in values and REPOSITORY.fullmatch(source) else ""


GRAMMAR: Final = Grammar(
    mounts=("v2", "token"),
    prefix="/v2/",
    endpoints=ENDPOINTS,
    identify=identify,
    scope_of=scope_of,
    render_error=errors.render,
)

"""Routes are read from the right, because names contain slashes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.access import Action
from entrepot.domain.errors import EndpointUnknown, Unsupported
from entrepot.formats.oci.routes import ENDPOINTS
from entrepot.wire.context import Context
from entrepot.wire.messages import Message, Request, Response
from entrepot.wire.routing import Endpoint, Router

ROUTER = Router("/v2/", ENDPOINTS)
DIGEST = "sha256:" + "0" * 64
WORDS = ("manifests", "blobs", "uploads", "tags", "list", "referrers", "v2", "a")
VALUES = {"{digest}": DIGEST, "{reference}": "v1", "{upload}": "f" * 32}


async def nothing() -> Message:
    """A body that nobody reads."""
    return {"type": "http.disconnect"}


async def answer(context: Context, request: Request) -> Response:
    """A handler that is never called."""
    raise NotImplementedError


def match(method: str, path: str, router: Router = ROUTER) -> tuple[Endpoint, dict[str, str]]:
    """The endpoint of a request and its parameters."""
    request = Request({"method": method, "path": path, "query_string": b"", "headers": []}, nothing)
    return router.match(request), request.parameters


NAMES = ["/".join(words) for length in (1, 2, 3) for words in itertools.product(WORDS, repeat=length)]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_is_found_under_every_name(endpoint: Endpoint) -> None:
    """Names made of the protocol's own words are names all the same."""
    for name in NAMES if "{name}" in endpoint.path else [""]:
        path = endpoint.path.replace("{name}", name)
        for word, value in VALUES.items():
            path = path.replace(word, value)
        found, parameters = match(endpoint.method, path)
        assert found is endpoint, path
        assert parameters.get("name", "") == name
        assert set(parameters.values()) <= {name, *VALUES.values()}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v2x",
        "/v2//",
        "/v2/a",
        "/v2/a/b",
        "/v2/a/manifests",
        "/v2/a/manifests/",
        "/v2/a/blobs/",
        "/v2/a/tags/",
        "/v2/a/tags/list/",
        "/v2/a/tags/other",
        "/v2/a/referrers/",
        "/v2//manifests/v1",
        "/v2/manifests/v1",
        "/v2/_catalog/",
        "/v1/a/manifests/v1",
        "/token/",
        "/v2/a/manifests/v1/",
        "/v2/a/blobs/uploads/\0",
    ],
)
def test_other_paths_are_no_endpoints(path: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(EndpointUnknown):
        match("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", ["GET", "HEAD"]),
        ("POST", "/v2", ["GET"]),
        ("PATCH", "/v2/a/manifests/v1", ["DELETE", "GET", "HEAD", "PUT"]),
        ("PUT", f"/v2/a/blobs/{DIGEST}", ["DELETE", "GET", "HEAD"]),
        ("GET", "/v2/a/blobs/uploads/", ["POST"]),
        ("POST", "/v2/a/blobs/uploads/x", ["DELETE", "GET", "HEAD", "PATCH", "PUT"]),
        ("DELETE", "/v2/a/tags/list", ["GET", "HEAD"]),
        ("PUT", "/token", ["GET", "POST"]),
        ("get", "/v2/", ["GET", "HEAD"]),
    ],
)
def test_other_methods_are_unsupported(method: str, path: str, allowed: list[str]) -> None:
    """The error names those that are supported."""
    with pytest.raises(Unsupported) as refused:
        match(method, path)
    assert refused.value.detail == {"allowed": allowed}


@given(st.lists(st.sampled_from([*WORDS, "", "_catalog", DIGEST]), max_size=7))
def test_any_path_has_one_answer(words: list[str]) -> None:
    """A path is an endpoint whose parts lie where the table says, or none."""
    path = "/v2/" + "/".join(words)
    try:
        endpoint, parameters = match("GET", path)
    except (EndpointUnknown, Unsupported):
        return
    rebuilt = endpoint.path
    for name, value in parameters.items():
        rebuilt = rebuilt.replace(f"{{{name}}}", value)
    assert rebuilt == path


def test_a_route_outside_of_its_prefix_cannot_be_built() -> None:
    """A mistake in a table is found when the table is read."""
    stray = Endpoint("GET", "/other/{name}/x", Action.PULL, answer, "")
    with pytest.raises(ValueError, match="does not begin with"):
        Router("/v2/", [stray])


def test_a_table_of_exact_paths_has_no_tails() -> None:
    """Below the prefix nothing else is found."""
    router = Router("/v2/", [Endpoint("GET", "/v2/", Action.PING, answer, "")])
    assert match("GET", "/v2/", router)[1] == {}
    with pytest.raises(EndpointUnknown):
        match("GET", "/v2/a/manifests/v1", router)


def test_long_paths_are_not_remembered() -> None:
    """They are answered as others are, and whoever sends ever new ones fills no memory."""
    router = Router("/v2/", ENDPOINTS)
    for number in range(20):
        endpoint, parameters = match("GET", f"/v2/{number}{'a' * 10_000}/tags/list", router)
        assert (endpoint.path, len(parameters["name"]) > 10_000) == ("/v2/{name}/tags/list", True)
    assert router._find.cache_info().currsize == 0
    match("GET", "/v2/acme/app/tags/list", router)
    assert router._find.cache_info().currsize == 1

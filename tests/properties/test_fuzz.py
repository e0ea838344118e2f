"""Any request at all: no 500, and every error in the specification's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.domain.access import parse_scopes
from entrepot.domain.digests import digest_of, parse_descriptor_digest
from entrepot.domain.errors import EntrepotError
from entrepot.domain.names import (
    parse_namespace_name,
    parse_reference,
    parse_repository_name,
)
from entrepot.formats.oci.errors import TABLE
from entrepot.wire.conditional import accepts, matches
from entrepot.wire.ranges import Unsatisfiable, parse_chunk_range, parse_range
from tests.support.asgi import DISCONNECT, Answer
from tests.support.images import CONFIG, LAYER, image
from tests.support.world import World, basic, password_of

CODES = {entry.code for entry in TABLE.values()}
IMAGE = image()
DIGEST = digest_of(LAYER)
ADMIN = basic("admin", password_of("admin"))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "X-Y")
WORDS = (
    "v2", "token", "_catalog", "pub", "priv", "app", "manifests", "blobs", "uploads", "tags", "list", "referrers",
    "v1", DIGEST, IMAGE.digest, "sha512:", "..", "", "%00", "%2F", "%FF", "%C3%A9", "a" * 300, "A", "-", "?",
)  # fmt: skip
NAMES = (
    "n", "last", "digest", "mount", "from", "tag", "digest-algorithm", "artifactType", "scope", "service",
    "offline_token", "grant_type", "refresh_token", "username", "password", "x",
)  # fmt: skip
VALUES = (
    "", "0", "1", "-1", "99999999999999999999", "%00", "%FF", "%ED%A0%80", "%F0%9F%99%82", DIGEST, IMAGE.digest,
    "sha512", "pub/app", "priv/app", "v1", "repository:pub/app:pull,push", "registry:catalog:*", "true", "password",
    "*", "a" * 500,
)  # fmt: skip
HEADERS = (
    "authorization", "accept", "content-type", "content-length", "content-range", "range", "if-none-match", "if-match",
    "if-range", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "transfer-encoding", "cookie",
)  # fmt: skip
HEADER_VALUES = (
    "", "*", "0", "5", "bytes=0-1", "bytes=9-", "bytes=-0", "0-4", "bytes 0-4/9", f'"{DIGEST}"', ADMIN, "Basic",
    "Basic =", "Bearer", "Bearer a.b.c", "application/json", IMAGE.media_type, "*/*;q=0", ",", ";", "\xff", "9" * 40,
    "chunked",
)  # fmt: skip
text = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=20)
paths = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=8).map(lambda words: "/" + "/".join(words)),
    st.lists(st.sampled_from(WORDS), max_size=4).map(lambda words: "/v2/pub/app/" + "/".join(words)),
    st.text(max_size=30).map(lambda value: "/v2/" + quote(value, errors="replace")),
)
queries = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
headers = st.dictionaries(st.sampled_from(HEADERS), st.one_of(st.sampled_from(HEADER_VALUES), text), max_size=4)
bodies = st.one_of(
    st.sampled_from(
        (b"", LAYER, CONFIG, IMAGE.raw, b"{}", b"grant_type=password&username=%00&password=x", b"\xff\xfe")
    ),
    st.binary(max_size=50),
    st.lists(st.one_of(st.binary(max_size=9), st.just(DISCONNECT)), max_size=3),
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[World]:
    """A world that all of the fuzz of this module runs against."""
    with World() as world:
        world.push("pub/app", IMAGE, "v1")
        yield world


def require_legal(method: str, answer: Answer) -> None:
    """Anything but a 5xx; errors with a code of the table. The client has checked the headers already."""
    assert 200 <= answer.status < 500
    if answer.status >= 400 and method != "HEAD" and answer["content-range"] == "":
        assert answer.code in CODES
        assert answer.json["errors"][0]["message"]


@settings(max_examples=settings().max_examples * 4)
@given(
    user=st.sampled_from(("admin", "alice", "bob", "")),
    line=st.tuples(st.sampled_from(METHODS), paths, queries),
    more=headers,
    body=bodies,
)
def test_any_request_has_a_legal_answer(
    fuzzed: World, user: str, line: tuple[str, str, str], more: dict[str, str], body: bytes | list[bytes | str]
) -> None:
    """Whatever stands in method, path, query, headers and body."""
    method, path, query = line
    answer = fuzzed.client(user).request(method, f"{path.replace('?', '')}?{query}", body, **more)
    require_legal(method, answer)


@given(raw=st.one_of(st.binary(max_size=80), st.sampled_from((IMAGE.raw, b"[" * 5000, b'{"a":' * 5000))), cut=st.data())
def test_any_manifest_has_a_legal_answer(fuzzed: World, raw: bytes, cut: st.DataObject) -> None:
    """Real ones with bytes changed, cut and put in, and no ones at all."""
    place = cut.draw(st.integers(0, len(raw)))
    changed = raw[:place] + cut.draw(st.binary(max_size=3)) + raw[place + cut.draw(st.integers(0, 9)) :]
    for media_type in ("", IMAGE.media_type, "application/vnd.oci.image.index.v1+json", "text/html"):
        answer = fuzzed.client("admin").request("PUT", "/v2/pub/app/manifests/fuzz", changed, content_type=media_type)
        require_legal("PUT", answer)
        if answer.status == 201:
            assert fuzzed.client("admin").request("GET", "/v2/pub/app/manifests/fuzz").body == changed


@given(st.lists(st.tuples(st.sampled_from(("PATCH", "PUT", "GET", "DELETE")), queries, headers, bodies), max_size=6))
def test_any_upload_has_legal_answers(
    fuzzed: World, steps: list[tuple[str, str, dict[str, str], bytes | list[bytes | str]]]
) -> None:
    """Any order of requests on one upload."""
    client = fuzzed.client("admin")
    location = client.request("POST", "/v2/pub/app/blobs/uploads/")["location"]
    for method, query, more, body in steps:
        require_legal(method, client.request(method, f"{location}?{query}", body, **{**more, "authorization": ADMIN}))


@given(st.one_of(st.text(max_size=40), text))
def test_no_text_makes_a_parser_fail(value: str) -> None:
    """Every parser answers or raises one of its own errors."""
    for parse in (
        parse_repository_name,
        parse_namespace_name,
        parse_reference,
        parse_descriptor_digest,
        parse_chunk_range,
    ):
        with suppress(EntrepotError):
            assert parse(value) is not None
    with suppress(Unsatisfiable):
        parse_range(value, 10)
    assert accepts(value, IMAGE.media_type) in {True, False}
    assert matches(value, f'"{DIGEST}"') in {True, False}
    assert isinstance(parse_scopes([value]), list)

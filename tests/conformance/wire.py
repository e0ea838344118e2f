"""A small client of the registry's API that authenticates as clients do and records every request it makes."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import Any

from . import spec
from .transport import Body, Pairs, Response, Transport

MAX_REDIRECTS = 5
DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/")
RESOURCE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<reference>[^/]+)")
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
WARNING = re.compile(r'299 - "(?:[^"\\]|\\.)*"')
PARAMETERS = {"artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n", "tag"}
ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, the status that answered it, and the test that sent it.

    `wants_larger` says that the answer asks for larger chunks than a test sends by itself.
    """

    test: str
    method: str
    path: str
    query: Pairs
    headers: Pairs
    status: int
    to_upload: bool
    wants_larger: bool

    @property
    def shape(self) -> str:
        """Method, path without names, and the specification's parameters: `PUT /v2/<name>/manifests/<digest>?tag`."""
        keys = "&".join(sorted({key for key, _ in self.query} & PARAMETERS))
        return f"{self.method} {self._place()}" + (f"?{keys}" if keys else "")

    def _place(self) -> str:
        """The path without names."""
        if self.to_upload:
            return "<upload>"
        if UPLOADS.fullmatch(self.path):
            return "/v2/<name>/blobs/uploads/"
        if not (found := RESOURCE.fullmatch(self.path)):
            return self.path
        kind, reference = found["kind"], found["reference"]
        return f"/v2/<name>/{kind}/{'list' if kind == 'tags' else reference_kind(reference)}"

    def header(self, name: str) -> str | None:
        """The value of a request header, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def reference_kind(reference: str) -> str:
    """Whether a reference is a digest, a tag, or neither."""
    reference = urllib.parse.unquote(reference)
    if DIGEST.fullmatch(reference):
        return "<digest>"
    return "<bad-digest>" if ":" in reference else "<tag>"


@dataclass
class Recorder:
    """What has been sent so far, and by which test."""

    test: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    uploads: set[str] = field(default_factory=set)

    def note(self, method: str, url: str, headers: Pairs, response: Response) -> None:
        """Keep one request; remember a location that answers an upload, to know requests to it by."""
        parts = urllib.parse.urlsplit(url)
        query = tuple(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        to_upload = parts.path in self.uploads
        kept = tuple((key, value) for key, value in headers if key.lower() != "authorization")
        wants_larger = response.header("OCI-Chunk-Min-Length") is not None
        self.exchanges.append(
            Exchange(self.test, method, parts.path, query, kept, response.status, to_upload, wants_larger)
        )
        location = response.header("Location")
        if location and response.status in {202, 204}:
            self.uploads.add(urllib.parse.urlsplit(urllib.parse.urljoin(url, location)).path)


@dataclass(frozen=True)
class Credentials:
    """A user's name and password, as `--username` and `--password` give them."""

    username: str
    password: str

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


@dataclass(frozen=True)
class Client:
    """Sends requests in one of three ways: `bearer` (challenge, /token, retry), `basic`, or `none`."""

    transport: Transport
    recorder: Recorder
    credentials: Credentials | None = None
    mode: str = "none"
    scopes: tuple[str, ...] = ()
    tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    def anonymous(self) -> Client:
        """The same registry without credentials."""
        return replace(self, mode="none", tokens={})

    def by(self, mode: str) -> Client:
        """The same registry and credentials, sent in another way."""
        return replace(self, mode=mode, tokens={})

    def asking(self, *scopes: str) -> Client:
        """A client whose tokens carry further scopes, as those of clients that mount do."""
        return replace(self, scopes=scopes)

    def url(self, target: str) -> str:
        """A Location or path as an absolute URL."""
        return urllib.parse.urljoin(self.transport.url, target)

    def request(self, method: str, target: str, headers: Pairs = (), body: Body = b"") -> Response:
        """Send one request, answering a challenge and following redirects of reads."""
        url = self.url(target)
        response = self._authorized(method, url, headers, body)
        for _ in range(MAX_REDIRECTS):
            location = response.header("Location")
            if method not in {"GET", "HEAD"} or location is None or response.status not in {301, 302, 303, 307, 308}:
                break
            url = urllib.parse.urljoin(url, location)
            elsewhere = urllib.parse.urlsplit(url).netloc != urllib.parse.urlsplit(self.transport.url).netloc
            sender = self.anonymous() if elsewhere else self
            response = sender._authorized(method, url, headers, body)
        return response

    def _authorized(self, method: str, url: str, headers: Pairs, body: Body) -> Response:
        """Send with what is known of tokens; ask for one when challenged."""
        if self.mode == "basic" and self.credentials:
            return self._send(method, url, (*headers, ("Authorization", self.credentials.basic)), body)
        key = self._key(method, url)
        known = self.tokens.get(key)
        carried: Pairs = (("Authorization", f"Bearer {known}"),) if known else ()
        response = self._send(method, url, (*headers, *carried), body)
        if response.status != 401 or self.mode != "bearer" or not self.credentials:
            return response
        self.tokens[key] = self.token(response)
        return self._send(method, url, (*headers, ("Authorization", f"Bearer {self.tokens[key]}")), body)

    def _key(self, method: str, url: str) -> tuple[str, ...]:
        """Which token a request may reuse: one for each repository, kind of action and further scope."""
        path = urllib.parse.urlsplit(url).path
        found = UPLOADS.match(path) or RESOURCE.fullmatch(path)
        place = "push" if UPLOADS.match(path) else ACTIONS.get(method, "push")
        return (found["name"] if found else "", place, *self.scopes)

    def token(self, refusal: Response) -> str:
        """Ask the service that a challenge names for a token, with the user's name and password."""
        challenge = refusal.header("WWW-Authenticate") or ""
        assert challenge.startswith("Bearer "), f"a 401 must carry a Bearer challenge: {challenge!r}"
        fields = dict(CHALLENGE.findall(challenge))
        query = [("service", fields.get("service", ""))]
        query += [("scope", scope) for scope in (fields.get("scope", ""), *self.scopes) if scope]
        url = f"{urllib.parse.urljoin(self.transport.url, fields['realm'])}?{urllib.parse.urlencode(query)}"
        carried: Pairs = (("Authorization", self.credentials.basic),) if self.credentials else ()
        answer = self._send("GET", url, carried, b"")
        assert answer.status == 200, f"the token service answered {answer.status}: {answer.body!r}"
        token = json.loads(answer.body)
        return str(token.get("token") or token["access_token"])

    def _send(self, method: str, url: str, headers: Pairs, body: Body) -> Response:
        """Carry, record and check one request."""
        response = self.transport.send(method, url, headers, body)
        streamed: Pairs = (("Transfer-Encoding", "chunked"),) if isinstance(body, tuple) else ()
        self.recorder.note(method, url, (*headers, *streamed), response)
        check_always(response)
        return response


def check_always(response: Response) -> None:
    """What the specification asks of every answer: the form of errors, of warnings, and of a 429."""
    warnings = response.values("Warning")
    spec.must(all(WARNING.fullmatch(value) for value in warnings), spec.WARNING_FORM, warnings)
    spec.must(sum(map(len, warnings)) <= 4096, spec.WARNING_SIZE, warnings)
    spec.should(response.status != 429 or response.header("Retry-After"), spec.RETRY_AFTER, response)
    if 400 <= response.status < 500 and "json" in (response.header("Content-Type") or "") and response.body:
        check_errors(response)


def check_errors(response: Response) -> None:
    """The form of a JSON body of errors."""
    document = json.loads(response.body)
    listed = document.get("errors") if isinstance(document, dict) else None
    spec.must(isinstance(listed, list) and listed, spec.ERROR_FORMAT, response.body)
    for error in listed or []:
        spec.must(re.fullmatch(r"[A-Z_]+", error.get("code", "")), spec.ERROR_CODE_GRAMMAR, error)
        spec.must(error["code"] in spec.ERROR_CODES, spec.ERROR_CODE_KNOWN, error)
        spec.should(isinstance(error.get("message", ""), str), spec.ERROR_MESSAGE, error)


def parsed(response: Response) -> Any:
    """The JSON document in a response."""
    return json.loads(response.body)


def error_codes(response: Response) -> set[str]:
    """The codes of the errors in a response; empty when the body holds none."""
    if not response.body:
        return set()
    return {error["code"] for error in parsed(response)["errors"]}

"""A signed `sts:GetCallerIdentity` request, which proves to whoever forwards it which AWS principal signed it.

Nobody but STS can tell whether the signature is right; what is judged here is that it is a request for exactly that,
to the endpoint that is configured, meant for this registry, and of now. Source: AWS Signature Version 4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from entrepot.domain.errors import Unauthenticated, Unavailable
from entrepot.domain.federation import LEEWAY_SECONDS, Issuer

SERVER_ID: Final = "x-entrepot-server-id"
MUST_SIGN: Final = frozenset({"host", "x-amz-date", SERVER_ID})
# What else is passed on: the type of the body, and the token of temporary credentials.
MAY_SIGN: Final = MUST_SIGN | {"content-type", "content-length", "x-amz-security-token", "x-amz-content-sha256"}
AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]{16,128})/(\d{8})/([a-z0-9-]{1,40})/sts/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]{1,500}), ?Signature=([0-9a-f]{64})"
)
QUESTION: Final = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
DATE: Final = "%Y%m%dT%H%M%SZ"
OLDEST_SECONDS: Final = 300
LONGEST_REQUEST: Final = 16_384
ASSUMED: Final = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/([^/]+)")
ARN: Final = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::(\d{12}):[\x21-\x7e]{1,600}")


class SignedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request as its signer made it; the names of headers may be written in any way."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


class ReadyRequest(msgspec.Struct, frozen=True):
    """One that may be forwarded: to where, with which headers, and how it is known again until when (microseconds)."""

    url: str
    headers: dict[str, str]
    body: str
    fingerprint: str
    until: int


def parse_signed_request(text: str) -> SignedRequest:
    """A request out of JSON, its headers in lower case. Raises Unauthenticated."""
    try:
        if len(text) > LONGEST_REQUEST:
            raise ValueError
        request = msgspec.json.decode(text, type=SignedRequest)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise _refused("malformed", "the signed request is not JSON with method, url, headers and body") from None
    headers = {name.lower(): value for name, value in request.headers.items()}
    if len(headers) != len(request.headers) or not all(map(_is_clean, headers.values())):
        raise _refused("malformed", "the signed request has a header twice, or one that is no line of text")
    return msgspec.structs.replace(request, headers=headers)


def endpoints(issuer: Issuer) -> dict[str, str]:
    """The address of STS in each region that is allowed."""
    return {region: issuer.url.replace("{region}", region).rstrip("/") for region in issuer.regions}


def is_for(issuer: Issuer, request: SignedRequest) -> bool:
    """Whether a request is to an endpoint of an issuer."""
    return request.url.removesuffix("/") in endpoints(issuer).values()


def require_ready(issuer: Issuer, request: SignedRequest, now: int) -> ReadyRequest:
    """A request that may be forwarded to an issuer. Raises Unauthenticated."""
    if (
        request.method != "POST"
        or dict(parse_qsl(request.body)) != QUESTION
        or len(parse_qsl(request.body)) != len(QUESTION)
    ):
        raise _refused("action", "the signed request must be a POST that asks for GetCallerIdentity and nothing else")
    match = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        raise _refused("malformed", "the request is not signed for sts with AWS Signature Version 4 in its header")
    _, day, region, names, signature = match.groups()
    signed = set(names.split(";"))
    url = _require_endpoint(issuer, request, region)
    if not MUST_SIGN <= signed <= MAY_SIGN or not signed <= request.headers.keys():
        raise _refused(
            "headers",
            f"the signature must cover {', '.join(sorted(MUST_SIGN))}, and none but headers of such a request",
        )
    if request.headers[SERVER_ID] not in issuer.audiences:
        raise _refused(
            "audience", f"the request is signed for another server: {SERVER_ID} must be {' or '.join(issuer.audiences)}"
        )
    until = _require_date(request.headers["x-amz-date"], day, now)
    headers = {name: request.headers[name] for name in sorted(signed - {"content-length"})}
    headers["authorization"] = request.headers["authorization"]
    fingerprint = hashlib.sha256(f"aws\0{signature}".encode()).hexdigest()
    return ReadyRequest(url + "/", headers, request.body, fingerprint, until)


def parse_identity(reply: str) -> dict[str, Any]:
    """Account, ARN and the rest as claims; an assumed role is shown as the role. Raises Unavailable."""
    found = {name: re.findall(rf"<{name}>([^<>]*)</{name}>", reply) for name in ("Account", "Arn", "UserId")}
    values = {name: texts[0] for name, texts in found.items() if len(texts) == 1}
    match = ARN.fullmatch(values.get("Arn", ""))
    if len(values) != len(found) or match is None or match[1] != values["Account"]:
        raise Unavailable("STS answered something that is not the identity of a caller", problem="away")
    claims: dict[str, Any] = {"account": values["Account"], "arn": values["Arn"], "user_id": values["UserId"]}
    assumed = ASSUMED.fullmatch(values["Arn"])
    if assumed is None:
        return claims
    partition, account, role, session = assumed.groups()
    return {**claims, "arn": f"arn:{partition}:iam::{account}:role/{role}", "role": role, "session": session}


def _require_endpoint(issuer: Issuer, request: SignedRequest, region: str) -> str:
    known = endpoints(issuer)
    if region not in known:
        raise _refused("region", f"requests are signed for {', '.join(known)}, and this one is for {region}")
    url = request.url.removesuffix("/")
    if url != known[region]:
        raise _refused("host", f"a request that is signed for {region} goes to {known[region]} and nowhere else")
    if request.headers.get("host") != urlsplit(url).netloc:
        raise _refused("host", "the Host header of the signed request is not that of its URL")
    return url


def _require_date(text: str, day: str, now: int) -> int:
    try:
        moment = datetime.strptime(text, DATE).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _refused("malformed", "x-amz-date is not a time like 20260131T120000Z") from None
    age = now / 1_000_000 - moment
    if not -LEEWAY_SECONDS <= age <= OLDEST_SECONDS or not text.startswith(day):
        raise _refused(
            "expired", f"the request was not signed within the last {OLDEST_SECONDS} seconds; sign a new one"
        )
    return int(moment + OLDEST_SECONDS + LEEWAY_SECONDS) * 1_000_000


def _is_clean(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _refused(problem: str, message: str, **detail: object) -> Unauthenticated:
    return Unauthenticated(message, problem=problem, **detail)


def render_signed_request(method: str, url: str, headers: Mapping[str, str], body: str) -> str:
    """A signed request as it is sent to the registry."""
    return msgspec.json.encode(SignedRequest(method, url, dict(headers), body)).decode()

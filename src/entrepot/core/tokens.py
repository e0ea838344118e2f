"""Tokens: signed claims, and the cache of what was found genuine.

The form is a JWT (RFC 7519) with one fixed header and HMAC-SHA-256, checked by comparing bytes: there is no
algorithm to negotiate and so none to confuse. Measured beside a general JOSE library in docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

import msgspec

from entrepot.domain.access import ADMITS, Action, Scope
from entrepot.domain.errors import NameInvalid, Unauthenticated
from entrepot.domain.names import parse_repository_name

HEADER: Final = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=") + b"."
TO_URL: Final = bytes.maketrans(b"+/", b"-_")
FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
LONGEST: Final = 16_384
T = TypeVar("T")
Use = Literal["access", "refresh"]


class Access(msgspec.Struct, frozen=True):
    """One granted scope, in the form of Docker's token specification."""

    type: str
    name: str
    actions: tuple[str, ...]


class Claims(msgspec.Struct, frozen=True):
    """What a token says: `sub` is an account, 0 for anonymous; `exp` and `iat` are seconds, `at` microseconds.

    `cid` is the credential that it was asked for with, 0 for a password.
    """

    sub: int
    iat: int
    exp: int
    at: int
    jti: str
    use: Use
    access: tuple[Access, ...] = ()
    cid: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Claims)


def new_claims(account: int, now: int, seconds: int, use: Use, scopes: list[Scope]) -> Claims:
    """Claims that begin now (microseconds) and hold for `seconds`."""
    granted = tuple(Access(scope.type, scope.name, scope.actions) for scope in scopes)
    second = now // 1_000_000
    return Claims(account, second, second + seconds, now, secrets.token_urlsafe(9), use, granted)


def sign(key: bytes, claims: Claims) -> str:
    """The claims as a token."""
    body = HEADER + _encode(_encoder.encode(claims))
    return (body + b"." + _encode(hmac.digest(key, body, "sha256"))).decode()


def _encode(content: bytes) -> bytes:
    # base64url without padding (RFC 7515, section 2); the library's own function does this through three others.
    return b2a_base64(content, newline=False).rstrip(b"=").translate(TO_URL)


def verify(key: bytes, token: str, now: int, use: Use) -> Claims:
    """The claims of a genuine, unexpired token. Raises Unauthenticated."""
    encoded = token.encode("ascii", "replace")
    body, _, signature = encoded.rpartition(b".")
    expected = _encode(hmac.digest(key, body, "sha256"))
    if len(encoded) > LONGEST or not body.startswith(HEADER) or not hmac.compare_digest(signature, expected):
        raise Unauthenticated("this token was not made by this registry")
    payload = body[len(HEADER) :].translate(FROM_URL)
    claims = _decoder.decode(a2b_base64(payload + b"=" * (-len(payload) % 4)))
    if claims.use != use:
        raise Unauthenticated(f"this is not the {use} token that belongs here")
    if claims.exp * 1_000_000 <= now:
        raise Unauthenticated("the token has expired; log in again or ask for a new one")
    return claims


@lru_cache(maxsize=4096)
def ceiling_of(granted: tuple[Access, ...]) -> dict[str, frozenset[Action]]:
    """What a token admits, by resource; shared by all tokens with the same scopes, so nobody may change it."""
    ceiling: dict[str, frozenset[Action]] = {}
    for access in granted:
        resource = _canonical(access.name) if access.type == "repository" else access.name
        admitted = frozenset[Action]().union(*(ADMITS.get(word, frozenset()) for word in access.actions))
        ceiling[resource] = ceiling.get(resource, frozenset()) | admitted
    return ceiling


def _canonical(name: str) -> str:
    try:
        return parse_repository_name(name)
    except NameInvalid:
        return name


class GenuineCache:
    """Remembers, under a keyed hash, which credentials were found genuine and until when.

    Nothing that can change is remembered: the owner drops everything with each new policy snapshot.
    """

    LIMIT: Final = 20_000

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._entries: dict[bytes, tuple[object, int]] = {}
        self._epoch: object = None
        self._flights: dict[bytes, asyncio.Future[Any]] = {}
        self._last: tuple[bytes, bytes] = (b"", b"")

    def find(self, credentials: bytes, epoch: object, now: int) -> object | None:
        """What was kept for these credentials in this epoch, if it still holds."""
        if epoch is not self._epoch:
            self._entries.clear()
            self._epoch = epoch
            return None
        entry = self._entries.get(self._hash(credentials))
        return entry[0] if entry is not None and entry[1] > now else None

    def put(self, credentials: bytes, epoch: object, value: object, until: int) -> None:
        """Keep a value for credentials until a time (microseconds), unless its epoch has passed meanwhile."""
        if epoch is not self._epoch:
            return
        if len(self._entries) >= self.LIMIT:
            self._entries.clear()
        self._entries[self._hash(credentials)] = (value, until)

    async def once(self, credentials: bytes, prove: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `prove` answers for these credentials; those who ask meanwhile wait for the same proof."""
        key = self._hash(credentials)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(prove())
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    def _hash(self, credentials: bytes) -> bytes:
        # What was not found is put next, mostly.
        if self._last[0] is not credentials:
            self._last = credentials, hashlib.blake2b(credentials, key=self._key, digest_size=16).digest()
        return self._last[1]

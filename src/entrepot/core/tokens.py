"""Tokens: signed claims, and the cache of what was found genuine.

A token is a JWT (RFC 7519) signed with ES256, for whoever has the published keys. This registry itself does not check
that signature, which costs ten times as much as all the rest: the last claim, `mac`, is an HMAC over every byte of
header and claims before it, and is compared as text. Nothing is negotiated, so there is nothing to confuse. Why that
is enough: docs/decisions/0015.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from binascii import a2b_base64
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

import msgspec

from entrepot.core.keyring import Key, Keyring, encode
from entrepot.domain.access import ADMITS, Action, Scope
from entrepot.domain.errors import NameInvalid, Unauthenticated
from entrepot.domain.names import parse_repository_name

FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
LONGEST: Final = 16_384
LEEWAY_SECONDS: Final = 60
MAC: Final = b',"mac":"%s"}'
T = TypeVar("T")
Use = Literal["access", "refresh", "elsewhere"]


class Access(msgspec.Struct, frozen=True):
    """One granted scope, in the form of Docker's token specification."""

    type: str
    name: str
    actions: tuple[str, ...]


class Parties(msgspec.Struct, frozen=True):
    """Between whom a token stands: who issues it (a URL), the service it is for, and whom it speaks about."""

    issuer: str
    service: str
    account: int = 0
    name: str = ""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: to everybody in the words of Docker's token specification, and to ourselves below `access`.

    `sub` is a user's name, empty for anonymous, and `uid` their account, 0 for anonymous. `exp`, `nbf` and `iat` are
    seconds, `at` microseconds. `use` "elsewhere" is an access token for another service than this registry. `cid`
    is the credential that it was asked for with, 0 for a password.
    """

    iss: str
    sub: str
    aud: str
    exp: int
    nbf: int
    iat: int
    jti: str
    access: tuple[Access, ...] = ()
    uid: int
    at: int
    use: Use
    cid: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Claims)


def new_claims(parties: Parties, now: int, seconds: int, use: Use, scopes: list[Scope]) -> Claims:
    """Claims that begin now (microseconds) and hold for `seconds`."""
    second = now // 1_000_000
    return Claims(
        iss=parties.issuer,
        sub=parties.name,
        aud=parties.service,
        exp=second + seconds,
        nbf=second,
        iat=second,
        jti=secrets.token_urlsafe(9),
        access=tuple(Access(scope.type, scope.name, scope.actions) for scope in scopes),
        uid=parties.account,
        at=now,
        use=use,
    )


def sign(key: Key, claims: Claims) -> str:
    """The claims as a token."""
    text = _encoder.encode(claims)[:-1]
    # In whole groups of base64, which the tail then does not share: the HMAC covers everything before it.
    covered = key.header.encode() + b"." + encode(text + b" " * (-len(text) % 3))
    content = covered + _tail(key, covered)
    return (content + b"." + encode(key.sign(content))).decode()


def _tail(key: Key, covered: bytes) -> bytes:
    return encode(MAC % encode(key.seal(covered)))


TAIL_LENGTH: Final = len(encode(MAC % encode(bytes(32))))
SIGNATURE_LENGTH: Final = len(encode(bytes(64)))


def verify(keys: Keyring, token: str, now: int, use: Use) -> Claims:
    """The claims of a genuine, unexpired token. Raises Unauthenticated."""
    key = keys.find(token)
    content, _, signature = token.encode("ascii", "replace").rpartition(b".")
    if key is None or len(token) > LONGEST or len(signature) != SIGNATURE_LENGTH:
        raise _foreign()
    covered, tail = content[:-TAIL_LENGTH], content[-TAIL_LENGTH:]
    if not hmac.compare_digest(tail, _tail(key, covered)):
        raise _foreign()
    claims = _read(content[len(key.header) + 1 :])
    _require_use(claims, use)
    if claims.exp * 1_000_000 <= now:
        raise Unauthenticated("the token has expired; log in again or ask for a new one")
    if (claims.nbf - LEEWAY_SECONDS) * 1_000_000 > now:
        raise Unauthenticated("the token is not valid yet: the clocks of this registry's machines differ")
    return claims


def _foreign() -> Unauthenticated:
    return Unauthenticated("this token was not made by this registry, or its key is void; log in again")


def _read(payload: bytes) -> Claims:
    try:
        return _decoder.decode(a2b_base64(payload.translate(FROM_URL) + b"=" * (-len(payload) % 4)))
    except msgspec.MsgspecError:
        raise Unauthenticated("this token was made by another version of the registry; ask for a new one") from None


def _require_use(claims: Claims, use: Use) -> None:
    if claims.use == use:
        return
    if claims.use == "elsewhere" and use == "access":
        raise Unauthenticated(
            "this token is for another service; ask with the service of the challenge, or with none", service=claims.aud
        )
    raise Unauthenticated(f"this is not the {use} token that belongs here")


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

    Nothing that can change is remembered: the owner drops everything with each new policy snapshot. What is asked for
    again and again stays however much else comes: half of what is held is dropped at once, and that is what nobody has
    asked for since the other half began.
    """

    LIMIT: Final = 20_000

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._entries: dict[bytes, tuple[object, int]] = {}
        self._older: dict[bytes, tuple[object, int]] = {}
        self._epoch: object = None
        self._flights: dict[bytes, asyncio.Future[Any]] = {}
        self._last: tuple[bytes, bytes] = (b"", b"")

    def find(self, credentials: bytes, epoch: object, now: int) -> object | None:
        """What was kept for these credentials in this epoch, if it still holds."""
        if epoch is not self._epoch:
            self._entries, self._older = {}, {}
            self._epoch = epoch
            return None
        key = self._hash(credentials)
        entry = self._entries.get(key) or self._renewed(key)
        return entry[0] if entry is not None and entry[1] > now else None

    def find_past(self, credentials: bytes, epoch: object, since: int) -> object | None:
        """What was kept in this epoch and held at a time (microseconds), although it may not hold any more."""
        if epoch is not self._epoch:
            return None
        key = self._hash(credentials)
        entry = self._entries.get(key) or self._renewed(key)
        return entry[0] if entry is not None and entry[1] > since else None

    def put(self, credentials: bytes, epoch: object, value: object, until: int) -> None:
        """Keep a value for credentials until a time (microseconds), unless its epoch has passed meanwhile."""
        if epoch is not self._epoch:
            return
        self._keep(self._hash(credentials), (value, until))

    async def once(self, credentials: bytes, prove: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `prove` answers for these credentials; those who ask meanwhile wait for the same proof."""
        key = self._hash(credentials)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(prove())
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    def _renewed(self, key: bytes) -> tuple[object, int] | None:
        entry = self._older.get(key)
        if entry is not None:
            self._keep(key, entry)
        return entry

    def _keep(self, key: bytes, entry: tuple[object, int]) -> None:
        if len(self._entries) >= self.LIMIT // 2:
            self._entries, self._older = {}, self._entries
        self._entries[key] = entry

    def _hash(self, credentials: bytes) -> bytes:
        # What was not found is put next, mostly.
        if self._last[0] is not credentials:
            self._last = credentials, hashlib.blake2b(credentials, key=self._key, digest_size=16).digest()
        return self._last[1]

"""The keys that tokens are signed by: made and rotated by a job, listed and rotated at once by administrators."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b32encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from entrepot.core.accounts import require_admin
from entrepot.core.keyring import HALF, encode
from entrepot.core.registry import DAY, SECOND, Act, Registry, Rules
from entrepot.domain.access import ANONYMOUS, Caller
from entrepot.domain.audit import SYSTEM, By
from entrepot.domain.events import Event
from entrepot.domain.json import render_json
from entrepot.metadata import events, policy, signing_keys
from entrepot.metadata.signing_keys import KeyRow
from entrepot.ports.database import Tx

State = Literal["waiting", "signing", "retired", "revoked"]
ACTOR: Final = "registry"
# At least: an hour in the cache of a verifier, what our own answer may be kept for, and some more.
PUBLISHED_SECONDS: Final = 7200
# In the course of things: time for whoever fetches keys once a day, or restarts a verifier that reads them then.
EARLY_DAYS: Final = 7
EARLY_SHARE: Final = 4
# Longer than any token: the certificate only carries the key.
CERTIFICATE_DAYS: Final = 3650
FINGERPRINT_BYTES: Final = 30


class KeyView(msgspec.Struct, frozen=True):
    """A key as administrators see it; times are microseconds since 1970."""

    kid: str
    state: State
    created_at: int
    signs_from: int
    revoked_at: int | None


async def list_keys(registry: Registry, caller: Caller) -> list[KeyView]:
    """Every key that is still known, the newest first. Raises Denied, InsufficientScope."""
    require_admin(caller, registry.policy.snapshot)
    now = registry.clock.now()
    held = await registry.database.read(signing_keys.list_keys)
    newest_first = sorted(held, key=lambda key: (key.created_at, key.signs_from), reverse=True)
    return [_view(held, key, now) for key in newest_first]


async def rotate(registry: Registry, caller: Caller, *, is_revoking: bool) -> KeyView:
    """The next key, which signs once it has been published for two hours; or at once, where all others are revoked.

    Raises Denied, InsufficientScope.
    """
    act = registry.act(caller)
    require_admin(caller, act.snapshot)
    made = make_key(act.now, act.now if is_revoking else act.now + PUBLISHED_SECONDS * SECOND)

    async def record(tx: Tx) -> KeyView:
        live = _live(await signing_keys.list_keys(tx))
        if is_revoking:
            await _revoke(tx, act, live)
        elif live and live[-1].signs_from > act.now:
            return await _hasten(tx, act, live)
        await _add(tx, (act.actor, act.by), made, act)
        return _view([*([] if is_revoking else live), made], made, act.now)

    view = await registry.database.transact(record)
    await registry.policy.refresh()
    return view


async def keep_keys(registry: Registry) -> None:
    """What the job does: the next key in time, and nothing of those by which no token holds any more."""
    act = registry.act(ANONYMOUS)
    held = await registry.database.read(signing_keys.list_keys)
    if not _is_due(held, act) and not _expired(held, act):
        return
    made = make_key(act.now, act.now + _lead(act.rules))

    async def record(tx: Tx) -> None:
        held = await signing_keys.list_keys(tx)
        if _is_due(held, act):
            await _add(tx, (ACTOR, SYSTEM), made, act)
        for key in _expired(held, act):
            await signing_keys.remove_key(tx, key.kid)
            await events.add_event(tx, Event("key.removed", ACTOR, key.kid), act.now, SYSTEM)
        await policy.bump_policy_version(tx)

    await registry.database.transact(record)
    await registry.policy.refresh()


def make_key(now: int, signs_from: int) -> KeyRow:
    """A new key. Its name is the fingerprint by which CNCF distribution looks for a certificate's key."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    kid = _fingerprint(public)
    numbers = public.public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "use": "sig",
        "kid": kid,
        "x": encode(numbers.x.to_bytes(HALF, "big")).decode(),
        "y": encode(numbers.y.to_bytes(HALF, "big")).decode(),
    }
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyRow(
        kid=kid,
        private_key=private.decode(),
        secret=secrets.token_hex(32),
        public_key=render_json(jwk).decode(),
        certificate=_certificate(key, now),
        created_at=now,
        signs_from=signs_from,
    )


async def _add(tx: Tx, who: tuple[str, By], key: KeyRow, act: Act) -> None:
    await signing_keys.add_key(tx, key)
    await policy.bump_policy_version(tx)
    actor, by = who
    await events.add_event(tx, Event("key.made", actor, key.kid, _from(key)), act.now, by)


def _from(key: KeyRow) -> dict[str, object]:
    return {"signs_from": datetime.fromtimestamp(key.signs_from / SECOND, UTC).isoformat()}


async def _hasten(tx: Tx, act: Act, live: Sequence[KeyRow]) -> KeyView:
    """Let the key that waits sign as early as it may."""
    waiting = live[-1]
    earliest = max(act.now, waiting.created_at + PUBLISHED_SECONDS * SECOND)
    if earliest < waiting.signs_from:
        waiting = msgspec.structs.replace(waiting, signs_from=earliest)
        await signing_keys.set_signs_from(tx, waiting.kid, earliest)
        await policy.bump_policy_version(tx)
        await events.add_event(tx, Event("key.hastened", act.actor, waiting.kid, _from(waiting)), act.now, act.by)
    return _view([*live[:-1], waiting], waiting, act.now)


async def _revoke(tx: Tx, act: Act, keys: Sequence[KeyRow]) -> None:
    for key in keys:
        await signing_keys.revoke_key(tx, key.kid, act.now)
        await events.add_event(tx, Event("key.revoked", act.actor, key.kid), act.now, act.by)


def _live(held: Sequence[KeyRow]) -> list[KeyRow]:
    return [key for key in held if key.revoked_at is None]


def _is_due(held: Sequence[KeyRow], act: Act) -> bool:
    live = _live(held)
    return not live or live[-1].signs_from + act.rules.key_days * DAY <= act.now + _lead(act.rules)


def _lead(rules: Rules) -> int:
    return max(PUBLISHED_SECONDS * SECOND, min(EARLY_DAYS * DAY, rules.key_days * DAY // EARLY_SHARE))


def _expired(held: Sequence[KeyRow], act: Act) -> list[KeyRow]:
    """Those that signed their last token so long ago that it holds no more, and those revoked as long ago."""
    live, before = _live(held), act.now - _longest_token(act.rules)
    ends = {key.kid: following.signs_from for key, following in pairwise(live)}
    return [key for key in held if (key.revoked_at or ends.get(key.kid, act.now)) < before]


def _longest_token(rules: Rules) -> int:
    # And some more, for a process whose clock or whose policy was behind.
    return max(rules.token_seconds * SECOND, rules.refresh_days * DAY) + PUBLISHED_SECONDS * SECOND


def _view(held: Sequence[KeyRow], key: KeyRow, now: int) -> KeyView:
    due = [live for live in _live(held) if live.signs_from <= now]
    state: State = "signing" if due and key == due[-1] else "waiting" if key.signs_from > now else "retired"
    if key.revoked_at is not None:
        state = "revoked"
    return KeyView(key.kid, state, key.created_at, key.signs_from, key.revoked_at)


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    # libtrust: 240 bits of the hash of the key, in groups of four letters.
    plain = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = b32encode(hashlib.sha256(plain).digest()[:FINGERPRINT_BYTES]).decode()
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


def _certificate(key: ec.EllipticCurvePrivateKey, now: int) -> str:
    from cryptography import x509  # noqa: PLC0415 - two MiB that only whoever makes a key needs

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Entrepot tokens")])
    begin = datetime.fromtimestamp(now // SECOND, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(hours=1))
        .not_valid_after(begin + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

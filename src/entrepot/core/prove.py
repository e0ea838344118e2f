"""From a secret to a caller: one indexed read and one SHA-256, kept as genuine as passwords are."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from entrepot.core.attempts import count_wrong_secret
from entrepot.core.registry import SECOND, Registry
from entrepot.core.tokens import GenuineCache
from entrepot.domain.access import UNKNOWN, Caller, Identity
from entrepot.domain.errors import Unauthenticated
from entrepot.domain.scopes import Ceiling, ceiling_of_scopes
from entrepot.domain.secrets import fingerprint
from entrepot.metadata import credentials
from entrepot.metadata.credentials import ProofRow

WRONG: Final = "wrong user name or password"
KEPT_SECONDS: Final = 300
METHODS: Final = {"pat": "personal-token", "svc": "service-secret", "tmp": "login-password"}


async def prove_pair(registry: Registry, cache: GenuineCache, name: str, secret: str, address: str = "") -> Caller:
    """The caller behind a name and a secret, which must belong together.

    Raises Unauthenticated, and TooMany after too many wrong ones from the address; right ones always pass.
    """
    now, snapshot, pair = registry.clock.now(), registry.policy.snapshot, f"{name}\0{secret}".encode()
    known = cache.find(pair, snapshot, now)
    if isinstance(known, Caller):
        return known
    # A cold start brings a crowd with the same robot's secret: it is looked up once for all of them.
    caller = await cache.once(pair, lambda: _prove_pair(registry, name, secret, address))
    cache.put(pair, snapshot, remembered(caller), kept_until(caller, now))
    return caller


def remembered(caller: Caller) -> Caller:
    """The caller as whoever shows the same again is taken for: proved before."""
    return msgspec.structs.replace(caller, is_fresh=False) if caller.is_fresh else caller


def kept_until(caller: Caller, now: int) -> int:
    """Until when it need not be proved again who sent a pair: for a while, and never longer than the secret holds."""
    until = now + KEPT_SECONDS * SECOND
    return min(until, caller.until) if caller.until else until


def require_as_proved(credentials_since: int, since: int) -> None:
    """Raise Unauthenticated where the credentials of an account are others than when its password was proved.

    `since` is as in Caller. Passwords are remembered, and take long to check: what lasts longer than a request is made
    of the present one alone.
    """
    if since and credentials_since > since:
        raise Unauthenticated("the password, or what it needs with it, was changed at this moment; log in again")


async def prove_alone(registry: Registry, secret: str, address: str = "") -> Caller:
    """The caller behind a secret that came as a bearer token, without a name. Raises Unauthenticated, TooMany."""
    proof = await _find(registry, secret)
    if proof is None:
        await count_wrong_secret(registry, address)
        raise Unauthenticated("this token was not made by this registry")
    return _caller(proof, registry.clock.now())


async def _prove_pair(registry: Registry, name: str, secret: str, address: str) -> Caller:
    proof = await _find(registry, secret)
    if proof is None or proof.name != name:
        await count_wrong_secret(registry, address)
        # A wrong secret takes as long as a wrong password, whoever is named.
        await registry.hasher.verify("", secret)
        raise Unauthenticated(WRONG)
    return _caller(proof, registry.clock.now())


async def _find(registry: Registry, secret: str) -> ProofRow | None:
    wanted = fingerprint(secret)
    return await registry.database.read(lambda tx: credentials.find_proof(tx, wanted))


def _caller(proof: ProofRow, now: int) -> Caller:
    # Whoever has the secret itself may know why it is void.
    if proof.disabled:
        raise Unauthenticated("this account is disabled")
    if proof.revoked_at is not None or (proof.kind == "tmp" and proof.created_at < proof.credentials_since):
        raise Unauthenticated("this secret has been revoked; make another one")
    if proof.expires_at is not None and proof.expires_at <= now:
        raise Unauthenticated("this secret has expired; make another one")
    identity = Identity(proof.account, proof.name)
    ceiling, until = ceiling_of_stored(proof.scopes), proof.expires_at or 0
    return Caller(identity, ceiling, UNKNOWN, proof.id, until, METHODS[proof.kind], is_fresh=True)


@lru_cache(maxsize=4096)
def ceiling_of_stored(scopes: str) -> Ceiling:
    """What stored scopes admit; shared by all secrets with the same ones, so nobody may change it."""
    return ceiling_of_scopes(msgspec.json.decode(scopes, type=list[str]) if scopes else [])

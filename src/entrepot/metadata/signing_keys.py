"""Rows of the keys that tokens are signed by."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Tx


class KeyRow(msgspec.Struct, frozen=True):
    """A key as stored: PEM, hex, JWK and PEM; times are microseconds since 1970.

    It signs from `signs_from` until a later one does, and is void from `revoked_at` on.
    """

    kid: str
    private_key: str
    secret: str
    public_key: str
    certificate: str
    created_at: int
    signs_from: int
    revoked_at: int | None = None


async def list_keys(tx: Tx) -> list[KeyRow]:
    """Every key there is, in the order of their time to sign."""
    rows = await tx.all(
        "select kid, private_key, secret, public_key, certificate, created_at, signs_from, revoked_at "
        "from signing_key order by signs_from, kid"
    )
    return [KeyRow(*row) for row in rows]


async def add_key(tx: Tx, key: KeyRow) -> None:
    """A new key."""
    await tx.execute(
        "insert into signing_key (kid, private_key, secret, public_key, certificate, created_at, signs_from) "
        "values ($1, $2, $3, $4, $5, $6, $7)",
        key.kid,
        key.private_key,
        key.secret,
        key.public_key,
        key.certificate,
        key.created_at,
        key.signs_from,
    )


async def set_signs_from(tx: Tx, kid: str, signs_from: int) -> None:
    """Let a key sign from another time on."""
    await tx.execute("update signing_key set signs_from = $1 where kid = $2", signs_from, kid)


async def revoke_key(tx: Tx, kid: str, now: int) -> None:
    """Make every token by a key void; its private half is forgotten."""
    await tx.execute("update signing_key set private_key = '', secret = '', revoked_at = $1 where kid = $2", now, kid)


async def remove_key(tx: Tx, kid: str) -> None:
    """Forget a key that no token depends on any more."""
    await tx.execute("delete from signing_key where kid = $1", kid)

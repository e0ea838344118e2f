"""The keys that tokens are signed by: `/signing-keys`."""

from __future__ import annotations

from datetime import datetime

from litestar.params import JSONBody

from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import signing_keys


class SigningKey(Answer, frozen=True):
    """A key; one that waits or signs is published, and a retired one too, as long as a token by it may hold."""

    kid: str
    state: signing_keys.State
    created_at: datetime
    signs_from: datetime
    revoked_at: datetime | None


class SigningKeys(Answer, frozen=True):
    """Every key that is still known, the newest first."""

    keys: list[SigningKey]


class Rotation(Document, frozen=True):
    """The next key signs once it has been published for two hours; with `revoke` at once, all other tokens void."""

    revoke: bool = False


def _key(key: signing_keys.KeyView) -> SigningKey:
    revoked = None if key.revoked_at is None else time_of(key.revoked_at)
    return SigningKey(key.kid, key.state, time_of(key.created_at), time_of(key.signs_from), revoked)


async def list_all(registry: TheRegistry, caller: TheCaller) -> SigningKeys:
    """The keys that tokens are signed by; their published halves are at `/.well-known/jwks.json`."""
    return SigningKeys([_key(key) for key in await signing_keys.list_keys(registry, caller)])


async def rotate(registry: TheRegistry, caller: TheCaller, data: JSONBody[Rotation]) -> SigningKey:
    """Go over to the next key, and void every token made so far where that is asked for."""
    return _key(await signing_keys.rotate(registry, caller, is_revoking=data.revoke))

"""The port for providers that people sign on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented


class Endpoints(msgspec.Struct, frozen=True):
    """Where a provider answers; `authentications` are the ways in which its token endpoint takes a secret.

    `says_issuer` is whether its answers to a browser name it (RFC 9207).
    """

    authorization: str
    token: str
    userinfo: str = ""
    authentications: tuple[str, ...] = ()
    says_issuer: bool = False


class Tokens(msgspec.Struct, frozen=True):
    """What a token endpoint answered; "" for what it gave not."""

    id_token: str = ""
    access_token: str = ""
    refresh_token: str = ""


class Providers(Protocol):
    """OpenID Connect providers, asked by this registry itself.

    Contract: over https, at public addresses (unless the settings allow others), for a few seconds and a bounded
    answer, without following redirects. Discovery and keys are kept for minutes. Raises Unavailable, naming the
    provider and the reason, where it cannot be asked or answers what is none.
    """

    async def discover(self, issuer: Issuer) -> Endpoints:
        """Where it answers (OpenID Connect Discovery). Raises Unavailable."""

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        """Raises Unauthenticated unless a key of the provider made the signature, by the algorithm of that key."""

    async def redeem(self, issuer: Issuer, form: Mapping[str, str], secret: str) -> Tokens:
        """Tokens for a code or a refresh token. Raises Unauthenticated where it says that the grant is void."""

    async def describe(self, issuer: Issuer, access_token: str) -> dict[str, Any]:
        """What its userinfo endpoint says of somebody; nothing where it has none. Raises Unavailable."""

    async def close(self) -> None:
        """Let go of connections. Idempotent."""

"""The port for issuers of identities elsewhere: what of theirs is genuine."""

from __future__ import annotations

from typing import Protocol

from entrepot.domain.aws import ReadyRequest
from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented


class Outside(Protocol):
    """Keys of issuers, and answers of AWS STS.

    Contract: an issuer is asked at its own host and port alone, over https, at public addresses (unless the settings
    allow others), for a few seconds and a bounded answer, without following redirects. Keys are kept; who asks for the
    same ones at the same time waits for the same answer; a key that is not known is looked for at most once a minute.
    Raises Unavailable, naming the issuer and the reason, where it cannot be asked; others go on working.
    """

    async def prove(self, issuer: Issuer, token: Presented) -> None:
        """Raises Unauthenticated unless a key of the issuer made the signature, by the algorithm of that key."""

    def require_keys(self, jwks: str) -> None:
        """Raises Unmet unless a JWKS holds a public key that tokens can be proved with, and no private one."""

    async def forward(self, issuer: Issuer, request: ReadyRequest) -> str:
        """What STS answers to a signed request, sent once. Raises Unauthenticated where it refuses the signature."""

    async def close(self) -> None:
        """Let go of connections. Idempotent."""

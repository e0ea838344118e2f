"""Whoever asks: `/whoami`."""

from __future__ import annotations

from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer
from entrepot.core.decide import decide
from entrepot.domain.access import Action


class Whoami(Answer, frozen=True):
    """Who the credentials prove; `token` says whether they were a token, which may allow less than a password."""

    name: str
    administrator: bool
    token: bool


async def get(registry: TheRegistry, caller: TheCaller) -> Whoami:
    """Who the credentials of this request prove."""
    is_admin = decide(registry.policy.snapshot, caller.identity, Action.ADMIN, "").allowed
    return Whoami(caller.identity.name if caller.identity else "", is_admin, caller.ceiling is not None)

"""Whoever asks: `/whoami`."""

from __future__ import annotations

from entrepot.api.request import TheCaller, TheRegistry
from entrepot.api.types import Answer
from entrepot.core import organisations
from entrepot.core.decide import decide
from entrepot.domain.access import Action
from entrepot.domain.policy import Membership


class OwnOrganisation(Answer, frozen=True):
    """An organisation that you are in, and as what."""

    name: str
    role: Membership


class Whoami(Answer, frozen=True):
    """Who the credentials prove; `token` says whether they were a token, which may allow less than a password.

    Organisations and teams (`organisation/team`) are null where a token does not cover them.
    """

    name: str
    administrator: bool
    token: bool
    organisations: list[OwnOrganisation] | None
    teams: list[str] | None


async def get(registry: TheRegistry, caller: TheCaller) -> Whoami:
    """Who the credentials of this request prove."""
    is_admin = decide(registry.policy.snapshot, caller.identity, Action.ADMIN, "").allowed
    name = caller.identity.name if caller.identity else ""
    found = await organisations.find_belonging(registry, caller)
    mine = [OwnOrganisation(*each) for each in found.organisations] if found else None
    return Whoami(name, is_admin, caller.ceiling is not None, mine, found.teams if found else None)

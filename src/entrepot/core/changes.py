"""What every change of people, teams and roles has in common."""

from __future__ import annotations

import re
from typing import Final

from entrepot.core.registry import Act
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import InsufficientScope, RequestInvalid
from entrepot.domain.events import Event
from entrepot.metadata import events, policy
from entrepot.ports.database import Tx

LONGEST_DESCRIPTION: Final = 500
CONTROL: Final = re.compile("[\x00-\x1f\x7f]")


async def note(tx: Tx, act: Act, event: Event) -> None:
    """Remember what happened, and let every process read the policy again."""
    await policy.bump_policy_version(tx)
    await events.add_event(tx, event, act.now, act.by)


def account_of(caller: Caller) -> int:
    """The account of a caller, or 0, which no row has."""
    return caller.identity.account if caller.identity else 0


def require_admitted(caller: Caller, action: Action, resource: str) -> None:
    """Raise InsufficientScope where a token was shown that does not cover this."""
    if not caller.is_admitted(action, resource):
        raise InsufficientScope("a token does not do this; send the user name and password")


def require_description(text: str) -> str:
    """What people say of an organisation, a team or a role: one line. Raises RequestInvalid."""
    if len(text) > LONGEST_DESCRIPTION or CONTROL.search(text):
        raise RequestInvalid(
            f"a description is one line of at most {LONGEST_DESCRIPTION} characters", field="description"
        )
    return text

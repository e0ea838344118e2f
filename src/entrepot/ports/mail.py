"""The port for mail."""

from __future__ import annotations

from typing import Protocol

from entrepot.domain.mail import Letter


class Mail(Protocol):
    """Somewhere that takes letters for people.

    Contract: not idempotent; whoever sends again has a second letter delivered. Ends within the adapter's own time
    limit and holds up no other work of the process. No text of a letter is ever part of a message or a log.
    """

    async def send(self, letter: Letter) -> None:
        """Hand a letter over. Raises Unavailable, with the reason, where it was not taken; it may be tried again."""

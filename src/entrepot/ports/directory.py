"""The port for a directory of people: LDAP, Active Directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from entrepot.domain.directory import Person


class Directory(Protocol):
    """Who there is, whether a password is theirs, and in which groups they are.

    Contract: nothing here changes the directory. Every call ends within the adapter's own time limit, however the
    directory behaves, and holds up no other work of the process. Raises Unavailable, with the reason, while the
    directory is away, does not answer in time, or refuses what the settings tell the adapter to ask; a directory that
    is known to be away costs no waiting. No password is ever part of a message.
    """

    async def log_in(self, name: str, password: str) -> Person | None:
        """Whose name and password these are; None for a wrong password and for nobody, and for an empty password.

        The name is taken as text: nothing in it means anything to the directory.
        """

    async def find(self, names: Sequence[str]) -> dict[str, Person]:
        """Those of these names that the directory has, by name; whoever is missing in the answer is not there."""

    def away(self) -> Mapping[str, str]:
        """Which of its servers are held to be away at this moment, by address, and why."""

    async def close(self) -> None:
        """Let go of threads. Idempotent."""

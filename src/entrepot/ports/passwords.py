"""The port for password hashing."""

from __future__ import annotations

from typing import Protocol


class PasswordHasher(Protocol):
    """Slow, salted hashing of passwords that people choose; bounded to the machine's cores.

    Contract: `verify` answers False for a wrong password and for a hash that it cannot read.
    """

    async def hash(self, password: str) -> str:
        """A self-describing hash."""

    async def verify(self, encoded: str, password: str) -> bool:
        """Whether the password made this hash; an empty `encoded` costs the same and is False."""

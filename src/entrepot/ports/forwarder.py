"""The port for a receiver of log messages elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Forwarder(Protocol):
    """Where messages go.

    Contract: messages arrive in their order, at least once as far as the protocol lets a sender know; after a lost
    connection, a bounded number of those that may not have arrived is sent again before others. Raises Unavailable
    while the receiver is away, within seconds.
    """

    async def send(self, messages: Sequence[bytes]) -> None:
        """Hand over messages, each whole."""

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""

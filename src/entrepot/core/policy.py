"""The policy snapshot that this process decides over, and how it is kept fresh."""

from __future__ import annotations

from entrepot.domain.access import EMPTY_POLICY, PolicySnapshot
from entrepot.metadata import policy as rows
from entrepot.ports.database import Database


class Policy:
    """Holds the present snapshot; `refresh` replaces it whole when the version has moved."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.snapshot: PolicySnapshot = EMPTY_POLICY

    async def refresh(self) -> None:
        """Look at the version, one indexed read, and take the new policy if there is one."""
        version = await self._database.read(rows.get_policy_version)
        if version != self.snapshot.version:
            self.snapshot = await self._database.read(rows.get_policy)

    async def catch_up(self, namespace: str) -> None:
        """Take the new policy at once where the namespace that was just pushed to is not known yet."""
        if namespace not in self.snapshot.namespaces:
            await self.refresh()

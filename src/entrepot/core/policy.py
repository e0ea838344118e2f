"""The policy snapshot that this process decides over, and how it is kept fresh."""

from __future__ import annotations

import asyncio
from typing import Final

from entrepot.core.decide import visible_ranges
from entrepot.core.keyring import Keyring
from entrepot.domain.access import Caller
from entrepot.domain.policy import EMPTY_POLICY, PolicySnapshot
from entrepot.metadata import policy as rows
from entrepot.metadata.signing_keys import KeyRow, list_keys
from entrepot.ports.database import Database, Tx

MOST_RANGES: Final = 1000


class Policy:
    """Holds the present snapshot and keys; `refresh` replaces them whole when the version has moved."""

    def __init__(self, database: Database, token_key: bytes) -> None:
        self._database = database
        self.token_key = token_key
        self.snapshot: PolicySnapshot = EMPTY_POLICY
        self.keys = Keyring()
        self._reading = asyncio.Lock()
        self._ranges: dict[tuple[int, str], list[str] | None] = {}
        self._ranges_of: PolicySnapshot = EMPTY_POLICY

    async def refresh(self) -> bool:
        """Look at the version, one indexed read, and take the new policy if there is one; whether there was."""
        version = await self._database.read(rows.get_policy_version)
        if version == self.snapshot.version:
            return False
        # One at a time: many who are refused at once need it read once, and what was read first is not to come last.
        async with self._reading:
            return await self._read_again()

    async def _read_again(self) -> bool:
        version = await self._database.read(rows.get_policy_version)
        if version == self.snapshot.version:
            return True
        snapshot, keys = await self._database.read(_read)
        # Together: what was found genuine is remembered as long as the snapshot is the same.
        self.snapshot, self.keys = snapshot, self.keys.renew(keys, self.token_key)
        return True

    def visible_ranges(self, caller: Caller) -> list[str] | None:
        """What `decide.visible_ranges` answers, worked out once for each identity under one policy."""
        if self._ranges_of is not self.snapshot or len(self._ranges) >= MOST_RANGES:
            self._ranges, self._ranges_of = {}, self.snapshot
        account = caller.identity.account if caller.identity else 0
        key = account, caller.origin.listener if self.snapshot.elsewhere else ""
        if key not in self._ranges:
            self._ranges[key] = visible_ranges(self.snapshot, caller)
        return self._ranges[key]

    async def catch_up(self, namespace: str) -> None:
        """Take the new policy at once where the namespace that was just pushed to is not known yet."""
        if namespace not in self.snapshot.namespaces:
            await self.refresh()


async def _read(tx: Tx) -> tuple[PolicySnapshot, list[KeyRow]]:
    # The version is read first, with the policy: a change that comes between only costs another look.
    return await rows.get_policy(tx), await list_keys(tx)

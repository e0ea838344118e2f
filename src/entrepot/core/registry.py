"""The bundle of ports and rules that every verb takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from entrepot.core.policy import Policy
from entrepot.core.trust import Trust
from entrepot.domain.access import Caller
from entrepot.domain.manifest import EdgeKind
from entrepot.domain.policy import PolicySnapshot
from entrepot.ports.clock import Clock
from entrepot.ports.database import Database
from entrepot.ports.directory import Directory
from entrepot.ports.passwords import PasswordHasher
from entrepot.ports.store import Abilities, BlobStore

SECOND = 1_000_000
DAY = 86_400 * SECOND


class Rules(msgspec.Struct, frozen=True):
    """What the settings say that verbs need to know; times in seconds unless the name says days."""

    optional_edges: frozenset[EdgeKind] = frozenset({"manifest"})
    token_seconds: int = 900
    refresh_days: int = 90
    key_days: int = 30
    create_organisations: bool = False
    open_uploads: int = 10_000
    blob_bytes: int = 0
    upload_seconds: int = 86_400
    promise_seconds: int = 86_400
    history_days: int = 30
    history_digests: int = 20
    trash_days: int = 7
    discard_seconds: int = 60
    grace_seconds: int = 3600
    create_accounts: bool = True
    private_addresses: bool = False


@dataclass(slots=True)
class Uses:
    """When this process last saw which credential, by id, and when it last wrote that down (microseconds)."""

    at: dict[int, int] = field(default_factory=dict)
    flushed_at: int = 0


@dataclass(frozen=True, slots=True)
class Registry:
    """The whole service, as verbs see it."""

    database: Database
    store: BlobStore
    clock: Clock
    hasher: PasswordHasher
    policy: Policy
    rules: Rules
    directory: Directory | None = None
    uses: Uses = field(default_factory=Uses)
    trust: Trust = field(default_factory=Trust)
    abilities: Abilities = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "abilities", Abilities.of(self.store))

    def act(self, caller: Caller) -> Act:
        """What a transaction needs to know of who acts, and when."""
        return Act(caller, self.policy.snapshot, self.clock.now(), self.rules)


class Act(msgspec.Struct, frozen=True):
    """One caller acting at one time under one policy; plain data that a transaction may use twice."""

    caller: Caller
    snapshot: PolicySnapshot
    now: int
    rules: Rules
    via: str = "oci"

    @property
    def actor(self) -> str:
        """The name that events remember."""
        return self.caller.identity.name if self.caller.identity else "anonymous"

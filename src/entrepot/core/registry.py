"""The bundle of ports and rules that every verb takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from entrepot.core.audit_key import AuditKey
from entrepot.core.audit_log import AuditLog
from entrepot.core.lockouts import Lockouts
from entrepot.core.policy import Policy
from entrepot.core.pull_meter import PullMeter
from entrepot.core.trust import Trust
from entrepot.domain.access import MAIN, Caller
from entrepot.domain.audit import By
from entrepot.domain.manifest import EdgeKind
from entrepot.domain.policy import PolicySnapshot
from entrepot.ports.clock import Clock
from entrepot.ports.database import Database
from entrepot.ports.directory import Directory
from entrepot.ports.mail import Mail
from entrepot.ports.passwords import PasswordHasher
from entrepot.ports.store import Abilities, BlobStore

Registration = Literal["off", "invited", "domain", "open"]
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
    scrub_bytes_per_second: int = 10 << 20
    scrub_days: int = 30
    create_accounts: bool = True
    private_addresses: bool = False
    require_totp: Literal["off", "administrators", "everyone"] = "off"
    public_url: str = ""
    registration: Registration = "off"
    registration_domains: tuple[str, ...] = ()
    sign_on_hours: int = 12
    listeners: frozenset[str] = frozenset({MAIN})
    lockout_failures: int = 10
    lockout_seconds: int = 900
    audit_days_in_database: int = 30
    audit_keep_days: int = 400


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
    mail: Mail | None = None
    lockouts: Lockouts = field(default_factory=Lockouts)
    pulls: PullMeter = field(default_factory=PullMeter)
    audit: AuditLog = field(default_factory=AuditLog)
    audit_key: AuditKey = field(default_factory=AuditKey)
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

    @property
    def by(self) -> By:
        """What the audit log remembers beside the name."""
        return by_of(self.caller)


def by_of(caller: Caller) -> By:
    """Whose doing something is: the account, the address, and how they proved who they are."""
    return By(caller.identity.account if caller.identity else 0, caller.origin.address, caller.method)

"""The policy that decisions are made over: everything they depend on, as of one version, in memory."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from entrepot.domain.access import Action, Decision, Identity, Visibility
from entrepot.domain.grants import EVERYONE, SIGNED_IN, Grant, Subject
from entrepot.domain.patterns import is_pattern, literal_prefix
from entrepot.domain.plans import Plan, PlanBook
from entrepot.domain.services import PREFIX

AccountKind = Literal["user", "organisation", "service"]
Membership = Literal["owner", "member"]
MOST_VERDICTS: Final = 1024
# No account has these ids: whoever may not act, and whoever works on the files of a registry by the command line.
NOBODY: Final = -1
OPERATOR: Final = 0


class AccountPolicy(msgspec.Struct, frozen=True):
    """What decisions need of an account. Credentials made before `credentials_since` (microseconds) are void."""

    name: str
    is_admin: bool
    is_disabled: bool
    credentials_since: int
    kind: AccountKind = "user"


class NamespacePolicy(msgspec.Struct, frozen=True):
    """What decisions need of a namespace; `owner` is an account or None, no `listeners` are all.

    `away_pulls` says that pulls go on from memory while the database is away.
    """

    owner: int | None
    visibility: Visibility
    listeners: tuple[str, ...] = ()
    away_pulls: bool = True


class Rights(msgspec.Struct):
    """All grants that concern one identity, by where they are looked for; and the verdicts that only depend on them."""

    exact: dict[str, list[Grant]]
    patterns: dict[str, list[tuple[str, Grant]]]
    has_denies: bool
    verdicts: dict[tuple[Action, str], Decision]

    def applicable(self, namespace: str, resource: str) -> list[Grant]:
        """The grants about a resource, those of the registry and of its namespace among them."""
        exact = self.exact
        found = [*exact.get("", ()), *exact.get(namespace, ())]
        if resource != namespace:
            found += exact.get(resource, ())
        if self.patterns:
            candidates = [*self.patterns.get(namespace, ()), *self.patterns.get("", ())]
            found += [
                grant
                for prefix, grant in candidates
                if resource.startswith(prefix) and grant.covers(namespace, resource)
            ]
        return found

    def plainly_allows(self, action: Action, namespace: str, resource: str) -> bool:
        """Whether a grant on the resource or its namespace allows it that nothing narrows, where nothing is denied.

        What listings ask about is mostly this, about ever new names.
        """
        if self.has_denies:
            return False
        for grant in (*self.exact.get(namespace, ()), *self.exact.get(resource, ())):
            if action in grant.actions and not grant.tags and grant.conditions is None:
                return True
        return False

    def keep(self, action: Action, resource: str, decision: Decision) -> Decision:
        """Remember a verdict that nothing but this policy could change."""
        if len(self.verdicts) >= MOST_VERDICTS:
            self.verdicts.clear()
        self.verdicts[action, resource] = decision
        return decision


class PolicySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decisions depend on, as of one version; replaced whole, never changed.

    `repositories` holds only those whose visibility differs from their namespace's default; `teams` are those of an
    account, `owners` the accounts that own an organisation, `revoked` the credentials that tokens may still come from.
    `organisations` are found by name, `memberships` are the organisations of an account, those it owns among them.
    `has_conditions` says that some grant or namespace looks at the request, `elsewhere` which namespaces answer only on
    certain listeners; `certificates` are the accounts that client certificates belong to, by the name in them.
    `plans` is None where nobody's pulls are limited.
    What is worked out of them for one identity is kept beside them.
    """

    version: int
    accounts: dict[int, AccountPolicy] = {}
    namespaces: dict[str, NamespacePolicy] = {}
    repositories: dict[str, Visibility] = {}
    grants: dict[Subject, list[Grant]] = {}
    teams: dict[int, frozenset[int]] = {}
    owners: dict[int, frozenset[int]] = {}
    revoked: frozenset[int] = frozenset()
    has_conditions: bool = False
    elsewhere: dict[str, tuple[str, ...]] = {}
    certificates: dict[str, int] = {}
    organisations: dict[str, int] = {}
    memberships: dict[int, frozenset[int]] = {}
    plans: PlanBook | None = None
    compiled: dict[int, Rights] = msgspec.field(default_factory=dict)

    def find_account(self, account: int) -> AccountPolicy | None:
        """The account if it may act at all."""
        policy = self.accounts.get(account)
        return None if policy is None or policy.is_disabled else policy

    def owns(self, account: int, namespace: NamespacePolicy) -> bool:
        """Whether an account owns a namespace, by itself or as an owner of the organisation that does."""
        owner = namespace.owner
        return owner is not None and (owner == account or account in self.owners.get(owner, ()))

    def membership(self, account: int, organisation: str) -> Membership | None:
        """What an account is in an organisation, or None for an outsider."""
        number = self.organisations.get(organisation)
        if number is None or number not in self.memberships.get(account, ()):
            return None
        return "owner" if account in self.owners.get(number, ()) else "member"

    def owned_by(self, account: int) -> list[str]:
        """Names of the organisations that an account owns."""
        return sorted(
            self.accounts[number].name
            for number in self.memberships.get(account, ())
            if number in self.accounts and account in self.owners.get(number, ())
        )

    def patrons(self, account: int, namespace: str) -> list[str]:
        """Which of the organisations of an owner have a name that begins a namespace's, the nearest first."""
        names = [name for name in self.owned_by(account) if namespace.startswith(f"{name}-")]
        return sorted(names, key=len, reverse=True)

    def payer_of(self, identity: Identity) -> int:
        """The account that bears what somebody pulls: the owner of its namespace for a service account."""
        namespace, plus, _ = identity.name.removeprefix(PREFIX).partition("+")
        policy = self.namespaces.get(namespace) if plus else None
        return identity.account if policy is None or policy.owner is None else policy.owner

    def plan_of(self, account: int) -> Plan | None:
        """What limits the pulls that an account bears; None where nothing does."""
        return self.plans.find(account, self.memberships.get(account, ())) if self.plans else None

    def rights_of(self, identity: Identity | None) -> Rights:
        """The grants that concern an identity; None, and whoever may not act, has what everyone has."""
        account = identity.account if identity is not None and self.find_account(identity.account) else NOBODY
        rights = self.compiled.get(account)
        if rights is None:
            rights = self.compiled[account] = self._compile(account)
        return rights

    def _compile(self, account: int) -> Rights:
        subjects: list[Subject] = [EVERYONE]
        if account != NOBODY:
            subjects += [SIGNED_IN, ("account", account)]
            subjects += [("team", team) for team in sorted(self.teams.get(account, ()))]
        rights = Rights({}, {}, has_denies=False, verdicts={})
        for grant in (grant for subject in subjects for grant in self.grants.get(subject, ())):
            rights.has_denies = rights.has_denies or grant.is_deny
            if is_pattern(grant.resource):
                prefix = literal_prefix(grant.resource)
                first, slash, _ = prefix.partition("/")
                rights.patterns.setdefault(first if slash else "", []).append((prefix, grant))
            else:
                rights.exact.setdefault(grant.resource, []).append(grant)
        return rights


EMPTY_POLICY: Final = PolicySnapshot(version=-1)

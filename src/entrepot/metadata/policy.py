"""The rows that decisions depend on, read whole into a snapshot."""

from __future__ import annotations

import msgspec

from entrepot.domain.access import Action
from entrepot.domain.grants import ROLES, Conditions, Grant, Subject
from entrepot.domain.policy import AccountPolicy, NamespacePolicy, PolicySnapshot
from entrepot.metadata.namespaces import read_listeners
from entrepot.metadata.plans import get_book
from entrepot.ports.database import Row, Tx

_GRANTS = 'select id, subject_kind, subject, effect, role, actions, resource, tags, conditions from "grant" order by id'

_CERTIFICATES = "select certificate, id from account where certificate <> ''"

# No token of a secret holds longer than a day (microseconds). The day is counted back from the newest revocation, which
# needs no clock.
REMEMBERED = 86_400_000_000
_REVOKED = "select id from credential where revoked_at >= (select max(revoked_at) from credential) - $1"


async def get_policy_version(tx: Tx) -> int:
    """The version that every change of policy bumps."""
    row = await tx.one("select version from policy where id = 1")
    return int(row[0]) if row else 0


async def bump_policy_version(tx: Tx) -> None:
    """Make every process read the policy again; part of each transaction that changes it."""
    await tx.execute("update policy set version = version + 1 where id = 1")


async def get_policy(tx: Tx) -> PolicySnapshot:
    """The whole policy. The version is read first: a change that comes between only costs another read."""
    version = await get_policy_version(tx)
    accounts = {
        row[0]: AccountPolicy(row[1], bool(row[2]), bool(row[3]), row[4], row[5])
        for row in await tx.all("select id, name, is_admin, is_disabled, credentials_since, kind from account")
    }
    namespaces = {
        row[0]: NamespacePolicy(row[1], row[2], read_listeners(row[3]))
        for row in await tx.all("select name, owner, visibility, listeners from namespace")
    }
    elsewhere = {name: held.listeners for name, held in namespaces.items() if held.listeners}
    repositories = {
        row[0]: row[1] for row in await tx.all("select name, visibility from repository where visibility is not null")
    }
    roles = ROLES | {row[0]: read_actions(row[1]) for row in await tx.all("select name, actions from role")}
    grants: dict[Subject, list[Grant]] = {}
    for row in await tx.all(_GRANTS):
        grant = _grant(row, roles)
        grants.setdefault(grant.subject, []).append(grant)
    return PolicySnapshot(
        version=version,
        accounts=accounts,
        namespaces=namespaces,
        repositories=repositories,
        grants=grants,
        has_conditions=bool(elsewhere) or any(grant.conditions for held in grants.values() for grant in held),
        elsewhere=elsewhere,
        certificates={row[0]: row[1] for row in await tx.all(_CERTIFICATES)},
        teams=await _sets(tx, "select account, team from team_member"),
        organisations={policy.name: number for number, policy in accounts.items() if policy.kind == "organisation"},
        memberships=await _sets(tx, "select account, organisation from organisation_member"),
        owners=await _sets(tx, "select organisation, account from organisation_member where role = 'owner'"),
        revoked=frozenset(row[0] for row in await tx.all(_REVOKED, REMEMBERED)),
        plans=await get_book(tx),
    )


def read_actions(text: str) -> frozenset[Action]:
    """Actions out of a stored list; a word that this version does not know gives nothing."""
    known = {action.value: action for action in Action}
    return frozenset(known[word] for word in msgspec.json.decode(text, type=list[str]) if word in known)


def _grant(row: Row, roles: dict[str, frozenset[Action]]) -> Grant:
    number, kind, subject, effect, role, actions, resource, tags, conditions = row
    allowed = roles.get(role, frozenset()) if role else read_actions(actions)
    return Grant(
        number,
        (kind, subject),
        allowed,
        resource,
        role or ", ".join(sorted(allowed)),
        effect == "deny",
        tags,
        msgspec.json.decode(conditions, type=Conditions) if conditions else None,
    )


async def _sets(tx: Tx, sql: str) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for key, value in await tx.all(sql):
        found.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in found.items()}

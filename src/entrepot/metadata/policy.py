"""The rows that decisions depend on, read whole into a snapshot."""

from __future__ import annotations

from entrepot.domain.access import (
    ROLE_OF_NAME,
    AccountPolicy,
    NamespacePolicy,
    PolicySnapshot,
    Role,
)
from entrepot.ports.database import Tx


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
        row[0]: AccountPolicy(row[1], bool(row[2]), bool(row[3]), row[4])
        for row in await tx.all("select id, name, is_admin, is_disabled, credentials_since from account")
    }
    namespaces = {
        row[0]: NamespacePolicy(row[1], row[2]) for row in await tx.all("select name, owner, visibility from namespace")
    }
    repositories = {
        row[0]: row[1] for row in await tx.all("select name, visibility from repository where visibility is not null")
    }
    grants: dict[int, dict[str, Role]] = {}
    for account, resource, role in await tx.all('select account, resource, role from "grant"'):
        grants.setdefault(account, {})[resource] = ROLE_OF_NAME[role]
    return PolicySnapshot(version, accounts, namespaces, repositories, grants)

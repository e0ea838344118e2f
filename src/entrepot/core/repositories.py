"""Finding, making and changing repositories and namespaces."""

from __future__ import annotations

from entrepot.core.decide import require
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action
from entrepot.domain.errors import NameUnknown
from entrepot.domain.events import Event
from entrepot.domain.names import (
    RepositoryName,
    require_free_name,
    require_image_repository,
)
from entrepot.metadata import accounts, events, namespaces, policy, repositories
from entrepot.ports.database import Tx


async def get_repository(tx: Tx, name: RepositoryName) -> int:
    """The id of a repository. Raises NameUnknown."""
    repository = await repositories.find_repository_id(tx, name)
    if repository is None:
        raise unknown_name(name)
    return repository


async def is_known(registry: Registry, name: RepositoryName) -> bool:
    """Whether there is such a repository."""
    return await registry.database.read(lambda tx: repositories.find_repository_id(tx, name)) is not None


def unknown_name(name: RepositoryName) -> NameUnknown:
    """The same words whether a repository is not there or not for this caller."""
    return NameUnknown("repository name not known to registry", name=name)


async def open_repository(tx: Tx, act: Act, name: RepositoryName) -> int:
    """The id of a repository that is about to receive content; made, with its namespace, where the caller may.

    Raises Denied, NameInvalid.
    """
    repository = await repositories.find_repository_id(tx, name)
    if repository is not None:
        return repository
    require(act.caller, act.snapshot, Action.REPOSITORY_CREATE, name)
    require_image_repository(name)
    await _open_namespace(tx, act, name.namespace)
    if await repositories.add_repository(tx, name, act.now):
        await events.add_event(tx, Event("repository.created", act.actor, name), act.now, act.by)
    return await get_repository(tx, name)


async def _open_namespace(tx: Tx, act: Act, name: str) -> None:
    if await namespaces.find_namespace(tx, name) is not None:
        return
    require(act.caller, act.snapshot, Action.NAMESPACE_CREATE, require_free_name(name))
    account = await accounts.find_account(tx, name)
    await namespaces.add_namespace(tx, name, account.id if account else None, "private", act.now)
    await policy.bump_policy_version(tx)
    await events.add_event(tx, Event("namespace.created", act.actor, name), act.now, act.by)

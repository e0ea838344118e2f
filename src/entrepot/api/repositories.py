"""Repositories: `/repositories`."""

from __future__ import annotations

from datetime import datetime

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, Within
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import namespaces
from entrepot.core.listing import list_repositories
from entrepot.domain.access import Visibility
from entrepot.domain.names import RepositoryName, parse_namespace_name, parse_repository_name
from entrepot.domain.policy import PolicySnapshot
from entrepot.metadata.repositories import RepositoryRow


class Repository(Answer, frozen=True):
    """A named collection of artifacts. `override` is null where it follows its namespace's visibility."""

    name: str
    namespace: str
    format: str
    visibility: Visibility
    override: Visibility | None
    created_at: datetime


class Repositories(Answer, frozen=True):
    """A page of repositories, by name."""

    repositories: list[Repository]


class RepositoryChange(Document, frozen=True):
    """The visibility of this repository; null follows the namespace."""

    visibility: Visibility | None


def _repository(snapshot: PolicySnapshot, row: RepositoryRow) -> Repository:
    namespace = RepositoryName(row.name).namespace
    policy = snapshot.namespaces.get(namespace)
    effective = row.visibility or (policy.visibility if policy else "private")
    return Repository(row.name, namespace, row.format, effective, row.visibility, time_of(row.created_at))


async def list_page(
    registry: TheRegistry, caller: TheCaller, names: Names, namespace: Within = ""
) -> Response[Repositories]:
    """The repositories that you may pull from, by name; of one namespace, or of all."""
    within = f"{parse_namespace_name(namespace)}/" if namespace else ""
    rows, following = await list_repositories(registry, caller, names.page, within=within)
    snapshot = registry.policy.snapshot
    return names.answer(Repositories([_repository(snapshot, row) for row in rows]), following)


async def get(registry: TheRegistry, repository: InPath) -> Repository:
    """One repository."""
    row = await namespaces.find_repository(registry, parse_repository_name(repository))
    return _repository(registry.policy.snapshot, row)


async def change(
    registry: TheRegistry, caller: TheCaller, repository: InPath, data: JSONBody[RepositoryChange]
) -> Repository:
    """Make this repository public or private whatever its namespace is, or let it follow its namespace again."""
    name = parse_repository_name(repository)
    row = await namespaces.set_visibility(registry, caller, name, data.visibility)
    return _repository(registry.policy.snapshot, row)

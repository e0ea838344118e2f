"""Namespaces: `/namespaces`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, FreeName, Name, time_of
from entrepot.core import namespaces
from entrepot.domain.access import Visibility
from entrepot.metadata.namespaces import NamespaceRow

ListenerName = Annotated[str, msgspec.Meta(max_length=63, description="The name of a listener in the settings.")]
UntaggedDays = Annotated[
    int,
    msgspec.Meta(
        ge=0, le=namespaces.MOST_UNTAGGED_DAYS, description="For how long what is pushed by digest alone is kept."
    ),
]


class Namespace(Answer, frozen=True):
    """The first segment of names, with one owner and a default visibility; `owner` is null where nobody is.

    `listeners` are those on which it answers; none are all. `away_pulls`: pulls go on while the database is away.
    `untagged_days`: for so long it keeps what is pushed by digest alone.
    """

    name: str
    kind: str
    owner: str | None
    visibility: Visibility
    created_at: datetime
    listeners: list[str]
    away_pulls: bool
    untagged_days: int


class Namespaces(Answer, frozen=True):
    """A page of namespaces, by name."""

    namespaces: list[Namespace]


class NewNamespace(Document, frozen=True):
    """A namespace to be made. `owner` is a user, or an organisation that you own.

    Without it, the namespace belongs to the user of its name, else to your organisation whose name begins it
    (`acme-prod`), else to you.
    """

    name: FreeName
    visibility: Visibility = "private"
    owner: Name | UnsetType = UNSET


class NamespaceChange(Document, frozen=True):
    """What is to be different; an `owner` of null stands for nobody, no `listeners` for all."""

    visibility: Visibility | UnsetType = UNSET
    owner: Name | UnsetType | None = UNSET
    listeners: Annotated[list[ListenerName], msgspec.Meta(max_length=20)] | UnsetType = UNSET
    away_pulls: bool | UnsetType = UNSET
    untagged_days: UntaggedDays | UnsetType = UNSET


def _namespace(row: NamespaceRow) -> Namespace:
    made_at, listeners = time_of(row.created_at), list(row.listeners)
    return Namespace(
        row.name, row.kind, row.owner, row.visibility, made_at, listeners, row.away_pulls, row.untagged_days
    )


async def list_page(registry: TheRegistry, caller: TheCaller, names: Names) -> Response[Namespaces]:
    """The namespaces in which there is something that you may read, by name."""
    rows, following = await namespaces.list_namespaces(registry, caller, names.page)
    return names.answer(Namespaces([_namespace(row) for row in rows]), following)


async def get(registry: TheRegistry, namespace: InPath) -> Namespace:
    """One namespace."""
    return _namespace(await namespaces.get_namespace(registry, namespace))


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewNamespace]) -> Response[Namespace]:
    """Make a namespace: administrators any, others that of their own name, or those that their organisation begins."""
    new = namespaces.NewNamespace(data.name, data.visibility, data.owner)
    made = await namespaces.create_namespace(registry, caller, new)
    return created(f"/namespaces/{made.name}", _namespace(made))


async def change(
    registry: TheRegistry, caller: TheCaller, namespace: InPath, data: JSONBody[NamespaceChange]
) -> Namespace:
    """Change owner, default visibility, on which listeners it answers, its pulls while away, or its untagged days."""
    listeners = UNSET if data.listeners is UNSET else tuple(data.listeners)
    wanted = namespaces.NamespaceChange(data.visibility, data.owner, listeners, data.away_pulls, data.untagged_days)
    return _namespace(await namespaces.change_namespace(registry, caller, namespace, wanted))

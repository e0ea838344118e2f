"""Roles, the built-in ones and those of this instance: `/roles`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Description, Document, Label, time_of
from entrepot.core import roles
from entrepot.metadata.roles import RoleRow

ActionText = Annotated[str, msgspec.Meta(description="An action.", extra_json_schema={"enum": list(roles.KNOWN)})]
Actions = Annotated[
    list[ActionText], msgspec.Meta(description="What the role allows.", extra_json_schema={"minItems": 1})
]


class Role(Answer, frozen=True):
    """A named set of actions; built-in ones stay as they are, and were never made."""

    name: str
    actions: list[str]
    description: str
    built_in: bool
    created_at: datetime | None


class Roles(Answer, frozen=True):
    """A page of roles, by name."""

    roles: list[Role]


class NewCustomRole(Document, frozen=True):
    """A role to be made."""

    name: Label
    actions: Actions
    description: Description = ""


class RoleChange(Document, frozen=True):
    """What is to be different; every grant of the role follows at once."""

    actions: Actions | UnsetType = UNSET
    description: Description | UnsetType = UNSET


def _role(row: RoleRow) -> Role:
    is_built_in = roles.is_built_in(row)
    made_at = None if is_built_in else time_of(row.created_at)
    return Role(row.name, sorted(row.actions), row.description, is_built_in, made_at)


async def list_page(registry: TheRegistry, names: Names) -> Response[Roles]:
    """Every role that can be granted, by name."""
    rows, following = await roles.list_roles(registry, names.page)
    return names.answer(Roles([_role(row) for row in rows]), following)


async def get(registry: TheRegistry, role: InPath) -> Role:
    """One role."""
    return _role(await roles.get_role(registry, role))


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewCustomRole]) -> Response[Role]:
    """Make a role."""
    made = await roles.create_role(registry, caller, roles.NewRole(data.name, data.actions, data.description))
    return created(f"/roles/{made.name}", _role(made))


async def change(registry: TheRegistry, caller: TheCaller, role: InPath, data: JSONBody[RoleChange]) -> Role:
    """Change what a role allows, or what is said of it."""
    wanted = roles.RoleChange(data.actions, data.description)
    return _role(await roles.change_role(registry, caller, role, wanted))


async def remove(registry: TheRegistry, caller: TheCaller, role: InPath) -> None:
    """Remove a role that no grant gives."""
    await roles.remove_role(registry, caller, role)

"""Members, who have a role on a namespace or on one repository: `/namespaces/…/members`, `/repositories/…/members`."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import InPath, Names, TheCaller, TheRegistry
from entrepot.api.types import Answer, Document
from entrepot.core import members as verbs
from entrepot.domain.names import parse_namespace_name, parse_repository_name


class Member(Answer, frozen=True):
    """A user and the role that was granted here."""

    user: str
    role: verbs.RoleName


class Members(Answer, frozen=True):
    """A page of members, by name; the owner of a namespace is no member of it by that."""

    members: list[Member]


class NewRole(Document, frozen=True):
    """The role to give: a reader pulls, a writer pushes and moves tags, a maintainer deletes, an owner administers."""

    role: verbs.RoleName


def _members(found: list[verbs.Member]) -> Members:
    return Members([Member(member.user, member.role) for member in found])


async def list_of_namespace(
    registry: TheRegistry, caller: TheCaller, namespace: InPath, names: Names
) -> Response[Members]:
    """Who has which role on the whole namespace."""
    found, following = await verbs.list_members(registry, caller, parse_namespace_name(namespace), names.page)
    return names.answer(_members(found), following)


async def list_of_repository(
    registry: TheRegistry, caller: TheCaller, repository: InPath, names: Names
) -> Response[Members]:
    """Who has which role on this repository, beside those with one on its namespace."""
    found, following = await verbs.list_members(registry, caller, parse_repository_name(repository), names.page)
    return names.answer(_members(found), following)


async def put_in_namespace(
    registry: TheRegistry, caller: TheCaller, namespace: InPath, user: InPath, data: JSONBody[NewRole]
) -> Member:
    """Give a user a role on the whole namespace; it replaces the one they had."""
    resource = parse_namespace_name(namespace)
    await verbs.put_member(registry, caller, resource, verbs.Member(user, data.role))
    return Member(user, data.role)


async def put_in_repository(
    registry: TheRegistry, caller: TheCaller, repository: InPath, user: InPath, data: JSONBody[NewRole]
) -> Member:
    """Give a user a role on this repository alone; it replaces the one they had."""
    resource = parse_repository_name(repository)
    await verbs.put_member(registry, caller, resource, verbs.Member(user, data.role))
    return Member(user, data.role)


async def remove_from_namespace(registry: TheRegistry, caller: TheCaller, namespace: InPath, user: InPath) -> None:
    """Take a user's role on the namespace away."""
    await verbs.remove_member(registry, caller, parse_namespace_name(namespace), user)


async def remove_from_repository(registry: TheRegistry, caller: TheCaller, repository: InPath, user: InPath) -> None:
    """Take a user's role on the repository away."""
    await verbs.remove_member(registry, caller, parse_repository_name(repository), user)

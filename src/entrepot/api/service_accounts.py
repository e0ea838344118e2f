"""Service accounts, by which machines log in: `/service-accounts`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from entrepot.api.request import InPath, Names, OfNamespace, TheCaller, TheRegistry, created
from entrepot.api.types import Answer, Document, Name, time_of
from entrepot.core import services
from entrepot.domain.names import parse_namespace_name
from entrepot.metadata.services import ServiceRow

Description = Annotated[
    str,
    msgspec.Meta(
        description="What it is for.",
        extra_json_schema={"maxLength": services.LONGEST_DESCRIPTION, "pattern": "^[^\\u0000-\\u001f\\u007f]*$"},
    ),
]


class ServiceAccount(Answer, frozen=True):
    """A machine with an account. `name` is what it logs in by; `namespace` is null for one of the registry itself.

    Whoever shows a client certificate of the name `certificate` and no other credentials is this account.
    """

    name: str
    namespace: str | None
    description: str
    disabled: bool
    created_at: datetime
    certificate: str


class ServiceAccounts(Answer, frozen=True):
    """A page of service accounts, by name."""

    service_accounts: list[ServiceAccount]


class NewServiceAccount(Document, frozen=True):
    """A service account to be made: `ci` becomes `robot$ci`, in the namespace `acme` it becomes `robot$acme+ci`."""

    name: Name
    namespace: Name | None = None
    description: Description = ""


class ServiceAccountChange(Document, frozen=True):
    """What is to be different. Disabled, none of its secrets opens anything; enabled again, all of them do.

    `certificate` is for administrators of the registry.
    """

    disabled: bool | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    certificate: Annotated[str, msgspec.Meta(max_length=512)] | UnsetType = UNSET


def _account(row: ServiceRow) -> ServiceAccount:
    times = time_of(row.created_at)
    return ServiceAccount(row.name, row.namespace, row.description, row.is_disabled, times, row.certificate)


async def list_page(
    registry: TheRegistry, caller: TheCaller, names: Names, namespace: OfNamespace = ""
) -> Response[ServiceAccounts]:
    """Service accounts by name: of a namespace that you administer, or, for administrators, all of them."""
    home = parse_namespace_name(namespace) if namespace else ""
    rows, following = await services.list_services(registry, caller, home, names.page)
    return names.answer(ServiceAccounts([_account(row) for row in rows]), following)


async def create(
    registry: TheRegistry, caller: TheCaller, data: JSONBody[NewServiceAccount]
) -> Response[ServiceAccount]:
    """Make a service account, which may do nothing before it is given a role and a secret."""
    namespace = "" if data.namespace is None else parse_namespace_name(data.namespace)
    new = services.NewService(data.name, namespace, data.description)
    made = await services.add_service(registry, caller, new)
    return created(f"/service-accounts/{made.name}", _account(made))


async def get(registry: TheRegistry, caller: TheCaller, account: InPath) -> ServiceAccount:
    """One service account."""
    return _account(await services.get_service(registry, caller, account))


async def change(
    registry: TheRegistry, caller: TheCaller, account: InPath, data: JSONBody[ServiceAccountChange]
) -> ServiceAccount:
    """Disable a service account at once, enable it again, or change its description."""
    wanted = services.ServiceChange(data.disabled, data.description, data.certificate)
    return _account(await services.change_service(registry, caller, account, wanted))


async def remove(registry: TheRegistry, caller: TheCaller, account: InPath) -> None:
    """Remove a service account with its roles and secrets."""
    await services.remove_service(registry, caller, account)

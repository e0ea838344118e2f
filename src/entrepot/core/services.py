"""Service accounts: machines that log in, of the registry or of one namespace; made, changed and removed."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from entrepot.core.accounts import CONTROL, require_admin
from entrepot.core.decide import require
from entrepot.core.listing import Page
from entrepot.core.namespaces import unknown_namespace
from entrepot.core.registry import Act, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.certificates import is_name
from entrepot.domain.errors import AlreadyExists, InsufficientScope, RequestInvalid
from entrepot.domain.events import Event
from entrepot.domain.policy import PolicySnapshot
from entrepot.domain.services import PREFIX, ServiceName, parse_service_name, require_service_name, unknown_service
from entrepot.metadata import accounts, events, namespaces, policy, services
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.services import ServiceRow
from entrepot.ports.database import Tx

LONGEST_DESCRIPTION: Final = 500


class NewService(msgspec.Struct, frozen=True):
    """A service account to be made; without a namespace it belongs to the registry."""

    name: str
    namespace: str = ""
    description: str = ""


class ServiceChange(msgspec.Struct, frozen=True):
    """What is to be different of a service account."""

    is_disabled: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET
    certificate: str | UnsetType = UNSET


async def list_services(
    registry: Registry, caller: Caller, namespace: str, page: Page
) -> tuple[list[ServiceRow], str | None]:
    """Service accounts of a namespace, or of the whole instance, by name. Raises Denied, InsufficientScope."""
    require_keeper(caller, registry.policy.snapshot, namespace)
    # By bytes, all of a namespace lie between its + and the next character, all of an instance between $ and %.
    start = f"{PREFIX}{namespace}+" if namespace else PREFIX
    span = max(start, page.after), start[:-1] + chr(ord(start[-1]) + 1)
    rows = await registry.database.read(lambda tx: services.list_services(tx, span, page.limit + 1))
    return rows[: page.limit], rows[page.limit - 1].name if len(rows) > page.limit else None


async def get_service(registry: Registry, caller: Caller, account: str) -> ServiceRow:
    """A service account. Raises AccountUnknown, Denied, InsufficientScope."""
    require_keeper(caller, registry.policy.snapshot, parse_service_name(account).namespace)
    return await registry.database.read(lambda tx: get_row(tx, account))


async def get_row(tx: Tx, account: str) -> ServiceRow:
    """The row of a service account. Raises AccountUnknown."""
    row = await services.find_service(tx, account)
    if row is None:
        raise unknown_service(account)
    return row


async def add_service(registry: Registry, caller: Caller, new: NewService) -> ServiceRow:
    """Make a service account, which may do nothing before it is granted a role.

    Raises Denied, InsufficientScope, NameInvalid, NameUnknown, RequestInvalid, AlreadyExists.
    """
    act = registry.act(caller)
    require_keeper(caller, act.snapshot, new.namespace)
    _require_description(new.description)
    name = str(ServiceName(require_service_name(new.name), new.namespace))

    async def record(tx: Tx) -> ServiceRow:
        home = await _get_home(tx, new.namespace) if new.namespace else None
        if await accounts.find_account(tx, name) is not None:
            raise AlreadyExists("there is a service account of this name", account=name)
        await accounts.add_faceless(tx, Faceless(name, "service", home, new.description), act.now)
        await _note(tx, act, Event("service.created", act.actor, name))
        return await get_row(tx, name)

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def change_service(registry: Registry, caller: Caller, account: str, change: ServiceChange) -> ServiceRow:
    """Disable a service account with all its secrets or enable it, describe it, or say which certificate is its own.

    Raises AccountUnknown, Denied, InsufficientScope, RequestInvalid, AlreadyExists.
    """
    act = registry.act(caller)
    require_keeper(caller, act.snapshot, parse_service_name(account).namespace)
    if change.description is not UNSET:
        _require_description(change.description)
    if change.certificate is not UNSET:
        # Who may do this for one namespace could take the certificate of another's machine for their own account.
        require_admin(caller, act.snapshot)
        _require_certificate(change.certificate)

    async def record(tx: Tx) -> ServiceRow:
        old = await get_row(tx, account)
        certificate = old.certificate if change.certificate is UNSET else change.certificate
        await _require_free(tx, account, certificate)
        is_disabled = old.is_disabled if change.is_disabled is UNSET else change.is_disabled
        description = old.description if change.description is UNSET else change.description
        new = msgspec.structs.replace(old, is_disabled=is_disabled, description=description, certificate=certificate)
        if new == old:
            return old
        await services.set_service(tx, new)
        detail: dict[str, object] = {
            "disabled": [old.is_disabled, new.is_disabled],
            "description": [old.description, new.description],
        }
        detail |= {"certificate": [old.certificate, new.certificate]} if new.certificate != old.certificate else {}
        await _note(tx, act, Event("service.changed", act.actor, account, detail))
        return new

    row = await registry.database.transact(record)
    await registry.policy.refresh()
    return row


async def remove_service(registry: Registry, caller: Caller, account: str) -> None:
    """Remove a service account with its roles and secrets. Raises AccountUnknown, Denied, InsufficientScope."""
    act = registry.act(caller)
    require_keeper(caller, act.snapshot, parse_service_name(account).namespace)

    async def record(tx: Tx) -> None:
        row = await get_row(tx, account)
        await accounts.remove_account(tx, row.id)
        await _note(tx, act, Event("service.removed", act.actor, account))

    await registry.database.transact(record)
    await registry.policy.refresh()


def require_keeper(caller: Caller, snapshot: PolicySnapshot, namespace: str) -> None:
    """Refuse whoever may not administer the service accounts of a namespace, or without one of the registry.

    Raises Denied, InsufficientScope. Asked before anything is looked up, so that nobody can tell what there is.
    """
    if not namespace:
        require_admin(caller, snapshot)
        return
    require(caller, snapshot, Action.NAMESPACE_ADMIN, namespace)
    require_unscoped(caller)


def require_unscoped(caller: Caller) -> None:
    """Raises InsufficientScope for a token that must not make or end other secrets."""
    if not caller.is_admitted(Action.ADMIN, ""):
        raise InsufficientScope("this takes the password, or a secret with the scope admin")


async def _get_home(tx: Tx, namespace: str) -> int:
    row = await namespaces.find_namespace(tx, namespace)
    if row is None:
        raise unknown_namespace(namespace)
    return row.id


def _require_description(text: str) -> None:
    if len(text) > LONGEST_DESCRIPTION or CONTROL.search(text):
        raise RequestInvalid(
            f"a description has at most {LONGEST_DESCRIPTION} characters, no control characters among them",
            field="description",
        )


def _require_certificate(name: str) -> None:
    if name and not is_name(name):
        raise RequestInvalid(
            "the name in a client certificate is a URI, a host, a mailbox or a common name", field="certificate"
        )


async def _require_free(tx: Tx, account: str, certificate: str) -> None:
    holder = await services.find_holder(tx, certificate)
    if holder not in {None, account}:
        raise AlreadyExists("this certificate belongs to another account", field="certificate", account=holder)


async def _note(tx: Tx, act: Act, event: Event) -> None:
    await policy.bump_policy_version(tx)
    await events.add_event(tx, event, act.now, act.by)

"""Rows of service accounts, which are accounts without a password."""

from __future__ import annotations

import msgspec

from entrepot.ports.database import Row, Tx


class ServiceRow(msgspec.Struct, frozen=True):
    """A service account as stored; `namespace` is the name of its home, None for the registry itself.

    `certificate` is the name in the client certificate that is its own, "" for none.
    """

    id: int
    name: str
    namespace: str | None
    description: str
    is_disabled: bool
    created_at: int
    certificate: str = ""


_SELECT = (
    "select a.id, a.name, n.name, a.description, a.is_disabled, a.created_at, a.certificate "
    "from account a left join namespace n on n.id = a.home"
)


def _service(row: Row) -> ServiceRow:
    number, name, namespace, description, is_disabled, created_at, certificate = row
    return ServiceRow(number, name, namespace, description, bool(is_disabled), created_at, certificate)


async def find_service(tx: Tx, name: str) -> ServiceRow | None:
    """A service account by the name by which it logs in."""
    row = await tx.one(f"{_SELECT} where a.kind = 'service' and a.name = $1", name)
    return None if row is None else _service(row)


async def find_holder(tx: Tx, certificate: str) -> str | None:
    """The name of the account that a client certificate of this name belongs to."""
    row = await tx.one("select name from account where certificate = $1 and certificate <> ''", certificate)
    return None if row is None else str(row[0])


async def list_services(tx: Tx, span: tuple[str, str], limit: int) -> list[ServiceRow]:
    """Service accounts by name, a page of those after one text and before another."""
    rows = await tx.all(
        f"{_SELECT} where a.kind = 'service' and a.name > $1 and a.name < $2 order by a.name limit $3", *span, limit
    )
    return [_service(row) for row in rows]


async def set_service(tx: Tx, service: ServiceRow) -> None:
    """Store what can change of a service account."""
    await tx.execute(
        "update account set is_disabled = $1, description = $2, certificate = $3 where id = $4",
        int(service.is_disabled),
        service.description,
        service.certificate,
        service.id,
    )

"""Rows of invitations into organisations."""

from __future__ import annotations

import msgspec

from entrepot.domain.policy import Membership
from entrepot.ports.database import Tx


class NewInvitationRow(msgspec.Struct, frozen=True):
    """An invitation about to be stored, of an account into an organisation. Times are microseconds since 1970."""

    organisation: int
    account: int
    role: Membership
    invited_by: str
    invited_at: int
    expires_at: int


class InvitationRow(msgspec.Struct, frozen=True):
    """An invitation as stored, with the names of whom it is about. Times are microseconds since 1970."""

    organisation: str
    user: str
    role: Membership
    invited_by: str
    invited_at: int
    expires_at: int


_SELECT = (
    "select o.name, a.name, i.role, i.invited_by, i.invited_at, i.expires_at from invitation i "
    "join account o on o.id = i.organisation join account a on a.id = i.account "
)


async def put_invitation(tx: Tx, new: NewInvitationRow) -> None:
    """Invite somebody, in the place of an earlier invitation; those that have expired are forgotten."""
    await tx.execute("delete from invitation where expires_at <= $1", new.invited_at)
    await tx.execute(
        "insert into invitation (organisation, account, role, invited_by, invited_at, expires_at) "
        "values ($1, $2, $3, $4, $5, $6) on conflict (organisation, account) do update set role = excluded.role, "
        "invited_by = excluded.invited_by, invited_at = excluded.invited_at, expires_at = excluded.expires_at",
        new.organisation,
        new.account,
        new.role,
        new.invited_by,
        new.invited_at,
        new.expires_at,
    )


async def find_invitation(tx: Tx, organisation: str, account: int, now: int) -> InvitationRow | None:
    """The invitation of an account into an organisation, unless it has expired."""
    row = await tx.one(
        f"{_SELECT} where o.name = $1 and i.account = $2 and i.expires_at > $3", organisation, account, now
    )
    return None if row is None else InvitationRow(*row)


async def list_invitations(tx: Tx, organisation: int, now: int, after: str, limit: int) -> list[InvitationRow]:
    """Who is invited into an organisation, by name, a page after `after`."""
    rows = await tx.all(
        f"{_SELECT} where i.organisation = $1 and i.expires_at > $2 and a.name > $3 order by a.name limit $4",
        organisation,
        now,
        after,
        limit,
    )
    return [InvitationRow(*row) for row in rows]


async def list_invitations_of(tx: Tx, account: int, now: int, after: str, limit: int) -> list[InvitationRow]:
    """Into what an account is invited, by the name of the organisation, a page after `after`."""
    rows = await tx.all(
        f"{_SELECT} where i.account = $1 and i.expires_at > $2 and o.name > $3 order by o.name limit $4",
        account,
        now,
        after,
        limit,
    )
    return [InvitationRow(*row) for row in rows]


async def remove_invitation(tx: Tx, organisation: int, account: int) -> None:
    """Forget an invitation."""
    await tx.execute("delete from invitation where organisation = $1 and account = $2", organisation, account)

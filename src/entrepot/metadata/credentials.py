"""Rows of secrets, each known by its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from entrepot.domain.secrets import SecretKind
from entrepot.ports.database import Row, Tx


class NewCredentialRow(msgspec.Struct, frozen=True):
    """A secret about to be stored. Without scopes it may do what its account may; times are microseconds."""

    account: int
    kind: SecretKind
    name: str
    fingerprint: str
    hint: str
    scopes: tuple[str, ...]
    created_by: str
    expires_at: int | None


class CredentialRow(msgspec.Struct, frozen=True):
    """A secret as people see it afterwards."""

    id: int
    account: int
    kind: SecretKind
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_by: str
    created_at: int
    expires_at: int | None
    used_at: int | None
    revoked_at: int | None

    def is_live(self, now: int) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class ProofRow(msgspec.Struct, frozen=True):
    """What a fingerprint proves: a credential, and the account it belongs to."""

    id: int
    kind: SecretKind
    scopes: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    account: int
    name: str
    disabled: int
    credentials_since: int


_COLUMNS = "id, account, kind, name, hint, scopes, created_by, created_at, expires_at, used_at, revoked_at"
_LIVE = "revoked_at is null and (expires_at is null or expires_at > $1)"


async def add_credential(tx: Tx, new: NewCredentialRow, now: int) -> int:
    """A new secret; its id."""
    row = await tx.one(
        "insert into credential (account, kind, name, fingerprint, hint, scopes, created_by, created_at, expires_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
        new.account,
        new.kind,
        new.name,
        new.fingerprint,
        new.hint,
        msgspec.json.encode(new.scopes).decode() if new.scopes else "",
        new.created_by,
        now,
        new.expires_at,
    )
    return int(row[0]) if row else 0


async def find_proof(tx: Tx, fingerprint: str) -> ProofRow | None:
    """Whose secret has this fingerprint, whether it still holds or not."""
    row = await tx.one(
        "select c.id, c.kind, c.scopes, c.created_at, c.expires_at, c.revoked_at, a.id, a.name, a.is_disabled, "
        "a.credentials_since from credential c join account a on a.id = c.account where c.fingerprint = $1",
        fingerprint,
    )
    return None if row is None else ProofRow(*row)


async def find_credential(tx: Tx, account: int, number: int) -> CredentialRow | None:
    """One secret of an account."""
    row = await tx.one(f"select {_COLUMNS} from credential where id = $1 and account = $2", number, account)
    return None if row is None else _credential(row)


async def list_credentials(tx: Tx, account: int, after: int, limit: int) -> list[CredentialRow]:
    """Secrets of an account in the order in which they were made, a page after an id; ended ones among them."""
    rows = await tx.all(
        f"select {_COLUMNS} from credential where account = $1 and id > $2 order by id limit $3", account, after, limit
    )
    return [_credential(row) for row in rows]


async def list_live_names(tx: Tx, account: int, kind: SecretKind, now: int) -> list[str]:
    """What the secrets of an account that still hold are called."""
    rows = await tx.all(
        f"select name from credential where {_LIVE} and account = $2 and kind = $3 order by id", now, account, kind
    )
    return [row[0] for row in rows]


async def revoke_credential(tx: Tx, credential: CredentialRow, child: str, now: int) -> int:
    """End a secret and the login passwords of the name `child`, which it was asked for; how many ended by this."""
    return await tx.execute(
        "update credential set revoked_at = $1 where revoked_at is null and account = $2 "
        "and (id = $3 or (kind = 'tmp' and name = $4))",
        now,
        credential.account,
        credential.id,
        child,
    )


async def note_uses(tx: Tx, uses: Mapping[int, int], grain: int) -> None:
    """Remember when secrets were used last; times nearer than `grain` to what is known are not worth a write."""
    for credential, at in sorted(uses.items()):
        await tx.execute(
            "update credential set used_at = $1 where id = $2 and (used_at is null or used_at <= $3)",
            at,
            credential,
            at - grain,
        )


async def delete_ended(tx: Tx, before: int, after: int, limit: int) -> int | None:
    """Forget secrets that ended before a time, a batch of ids after `after`; the last of them, None for the end."""
    rows = await tx.all(
        "select id from credential where (expires_at < $1 or revoked_at < $1) and id > $2 order by id limit $3",
        before,
        after,
        limit,
    )
    if not rows:
        return None
    await tx.execute(
        "delete from credential where (expires_at < $1 or revoked_at < $1) and id > $2 and id <= $3",
        before,
        after,
        rows[-1][0],
    )
    return int(rows[-1][0])


async def count_live(tx: Tx, now: int, most: int) -> dict[str, int]:
    """How many secrets of each kind hold, looking at `most` at most."""
    rows = await tx.all(
        f"select kind, count(*) from (select kind from credential where {_LIVE} limit $2) as live group by kind",
        now,
        most,
    )
    return {row[0]: row[1] for row in rows}


def _credential(row: Row) -> CredentialRow:
    scopes = msgspec.json.decode(row[5], type=list[str]) if row[5] else []
    return replace(CredentialRow(*row), scopes=tuple(scopes))

"""Rows of issuers, of the rules about their tokens, and of the tokens that have been exchanged."""

from __future__ import annotations

import msgspec

from entrepot.domain.federation import Issuer, IssuerKind, Rule
from entrepot.ports.database import Row, Tx

MOST_RULES = 1000
SWEPT = 20

_ISSUER = "select id, name, kind, url, audiences, regions, jwks, is_reusable, is_enabled, created_at from issuer"
_RULE = (
    "select r.id, i.name, r.name, r.conditions, r.account, a.name, r.scopes, r.is_enabled, r.created_at "
    "from federation_rule r join issuer i on i.id = r.issuer join account a on a.id = r.account "
)


async def find_issuer(tx: Tx, name: str) -> Issuer | None:
    """An issuer by its name."""
    row = await tx.one(f"{_ISSUER} where name = $1", name)
    return None if row is None else _issuer(row)


async def find_issuer_of(tx: Tx, url: str) -> Issuer | None:
    """The issuer of OIDC tokens that say this URL."""
    row = await tx.one(f"{_ISSUER} where kind = 'oidc' and url = $1", url)
    return None if row is None else _issuer(row)


async def list_issuers(tx: Tx, after: str, limit: int) -> list[Issuer]:
    """Issuers by name, a page after `after`."""
    return [_issuer(row) for row in await tx.all(f"{_ISSUER} where name > $1 order by name limit $2", after, limit)]


async def list_issuers_of(tx: Tx, kind: IssuerKind) -> list[Issuer]:
    """Every enabled issuer of a kind."""
    rows = await tx.all(f"{_ISSUER} where kind = $1 and is_enabled = 1 order by name", kind)
    return [_issuer(row) for row in rows]


async def add_issuer(tx: Tx, new: Issuer) -> None:
    """A new issuer; its id is given by the database. Raises AlreadyExists."""
    await tx.execute(
        "insert into issuer (name, kind, url, audiences, regions, jwks, is_reusable, is_enabled, created_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.name,
        new.kind,
        new.url,
        _text(new.audiences),
        _text(new.regions),
        new.jwks,
        int(new.is_reusable),
        int(new.is_enabled),
        new.created_at,
    )


async def set_issuer(tx: Tx, issuer: Issuer) -> None:
    """Change what may change of an issuer: all but its name, kind and URL."""
    await tx.execute(
        "update issuer set audiences = $1, regions = $2, jwks = $3, is_reusable = $4, is_enabled = $5 where id = $6",
        _text(issuer.audiences),
        _text(issuer.regions),
        issuer.jwks,
        int(issuer.is_reusable),
        int(issuer.is_enabled),
        issuer.id,
    )


async def remove_issuer(tx: Tx, issuer: int) -> None:
    """Forget an issuer with its rules."""
    await tx.execute("delete from federation_rule where issuer = $1", issuer)
    await tx.execute("delete from issuer where id = $1", issuer)


async def find_rule(tx: Tx, issuer: int, name: str) -> Rule | None:
    """A rule of an issuer by its name."""
    row = await tx.one(f"{_RULE} where r.issuer = $1 and r.name = $2", issuer, name)
    return None if row is None else _rule(row)


async def find_rule_as(tx: Tx, account: int) -> Rule | None:
    """The first of the rules by which jobs act as an account."""
    row = await tx.one(f"{_RULE} where r.account = $1 order by i.name, r.name limit 1", account)
    return None if row is None else _rule(row)


async def list_rules(tx: Tx, issuer: int, after: str = "", limit: int = MOST_RULES) -> list[Rule]:
    """The rules of an issuer by name, which is the order in which they are tried."""
    rows = await tx.all(f"{_RULE} where r.issuer = $1 and r.name > $2 order by r.name limit $3", issuer, after, limit)
    return [_rule(row) for row in rows]


async def put_rule(tx: Tx, issuer: int, rule: Rule) -> None:
    """A rule, which replaces the one of the same name."""
    await tx.execute(
        "insert into federation_rule (issuer, name, conditions, account, scopes, is_enabled, created_at) "
        "values ($1, $2, $3, $4, $5, $6, $7) on conflict (issuer, name) do update set "
        "conditions = excluded.conditions, account = excluded.account, scopes = excluded.scopes, "
        "is_enabled = excluded.is_enabled",
        issuer,
        rule.name,
        msgspec.json.encode(rule.conditions).decode(),
        rule.account,
        _text(rule.scopes),
        int(rule.is_enabled),
        rule.created_at,
    )


async def remove_rule(tx: Tx, rule: int) -> None:
    """Forget a rule."""
    await tx.execute("delete from federation_rule where id = $1", rule)


async def take_once(tx: Tx, fingerprint: str, until: int, now: int) -> bool:
    """Take a token, remembered until a time (microseconds); whether nobody had. Sweeps a few that nobody asks about."""
    await tx.execute(
        "delete from federation_use where fingerprint in "
        "(select fingerprint from federation_use where until < $1 order by until limit $2)",
        now,
        SWEPT,
    )
    row = await tx.one(
        "insert into federation_use (fingerprint, until) values ($1, $2) on conflict do nothing returning fingerprint",
        fingerprint,
        until,
    )
    return row is not None


def _issuer(row: Row) -> Issuer:
    number, name, kind, url, audiences, regions, jwks, is_reusable, is_enabled, created_at = row
    return Issuer(
        number, name, kind, url, _list(audiences), _list(regions), jwks, bool(is_reusable), bool(is_enabled), created_at
    )


def _rule(row: Row) -> Rule:
    number, issuer, name, conditions, account, account_name, scopes, is_enabled, created_at = row
    read = msgspec.json.decode(conditions, type=dict[str, tuple[str, ...]])
    return Rule(number, issuer, name, read, account, account_name, _list(scopes), bool(is_enabled), created_at)


def _list(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _text(values: tuple[str, ...]) -> str:
    return msgspec.json.encode(values).decode()

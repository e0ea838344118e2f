"""Rows of providers that people sign on with, and of who somebody there is here."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from entrepot.domain.sign_on import Provider
from entrepot.ports.database import Row, Tx


class LinkRow(msgspec.Struct, frozen=True):
    """Who somebody at a provider is here; times are microseconds, None for never. `refresh_token` is sealed.

    `source` is where the account comes from; `gone_at` since when it has been disabled for want of anybody vouching.
    """

    provider: int
    provider_name: str
    subject: str
    account: int
    name: str
    email: str
    refresh_token: str
    created_at: int
    signed_in_at: int | None
    checked_at: int | None
    ended_at: int | None
    source: str
    is_disabled: bool
    gone_at: int | None


_PROVIDER = (
    "select id, name, issuer, client_id, client_secret, scopes, name_claim, email_claim, groups_claim, domains, "
    "groups, creates_accounts, is_enabled, created_at from sign_on_provider"
)
_LINK = (
    "select l.provider, p.name, l.subject, l.account, a.name, l.email, l.refresh_token, l.created_at, l.signed_in_at, "
    "l.checked_at, l.ended_at, a.source, a.is_disabled, a.gone_at from sign_on_link l "
    "join sign_on_provider p on p.id = l.provider join account a on a.id = l.account"
)


async def find_provider(tx: Tx, name: str) -> Provider | None:
    """A provider by its name."""
    row = await tx.one(f"{_PROVIDER} where name = $1", name)
    return None if row is None else _provider(row)


async def list_providers(tx: Tx, after: str, limit: int) -> list[Provider]:
    """Providers by name, a page after `after`."""
    return [_provider(row) for row in await tx.all(f"{_PROVIDER} where name > $1 order by name limit $2", after, limit)]


async def add_provider(tx: Tx, new: Provider) -> None:
    """A new provider; its id is given by the database. Raises AlreadyExists."""
    await tx.execute(
        "insert into sign_on_provider (name, issuer, client_id, client_secret, scopes, name_claim, email_claim, "
        "groups_claim, domains, groups, creates_accounts, is_enabled, created_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        new.name,
        new.issuer,
        *_changeable(new),
        new.created_at,
    )


async def set_provider(tx: Tx, provider: Provider) -> None:
    """Change what may change of a provider: all but its name and issuer."""
    await tx.execute(
        "update sign_on_provider set client_id = $1, client_secret = $2, scopes = $3, name_claim = $4, "
        "email_claim = $5, groups_claim = $6, domains = $7, groups = $8, creates_accounts = $9, is_enabled = $10 "
        "where id = $11",
        *_changeable(provider),
        provider.id,
    )


async def remove_provider(tx: Tx, provider: Provider, now: int) -> None:
    """Forget a provider with its links, sessions and memberships; who came by it alone may not act any more."""
    await tx.execute(
        "update account set is_disabled = 1, gone_at = $1, credentials_since = $1 where source = 'oidc' "
        "and is_disabled = 0 and id in (select account from sign_on_link where provider = $2) "
        "and id not in (select account from sign_on_link where provider <> $2 and ended_at is null)",
        now,
        provider.id,
    )
    await tx.execute("delete from team_member where source = $1", provider.source)
    await tx.execute("delete from organisation_member where source = $1", provider.source)
    await tx.execute("delete from sign_on_link where provider = $1", provider.id)
    await tx.execute("delete from web_session where provider = $1", provider.id)
    await tx.execute("delete from sign_on_provider where id = $1", provider.id)


async def find_link(tx: Tx, provider: int, subject: str) -> LinkRow | None:
    """Who somebody at a provider is here."""
    row = await tx.one(f"{_LINK} where l.provider = $1 and l.subject = $2", provider, subject)
    return None if row is None else _link(row)


async def find_link_of(tx: Tx, provider: int, account: int) -> LinkRow | None:
    """As whom an account is known at a provider."""
    row = await tx.one(f"{_LINK} where l.provider = $1 and l.account = $2", provider, account)
    return None if row is None else _link(row)


async def list_links(tx: Tx, provider: int, after: str, limit: int) -> list[LinkRow]:
    """Everybody at a provider who is somebody here, by subject, a page after `after`."""
    rows = await tx.all(
        f"{_LINK} where l.provider = $1 and l.subject > $2 order by l.subject limit $3", provider, after, limit
    )
    return [_link(row) for row in rows]


async def list_due(tx: Tx, place: tuple[int, str], before: int, limit: int) -> list[LinkRow]:
    """Links that were last vouched for before a time, a page after a place (provider, subject)."""
    rows = await tx.all(
        f"{_LINK} where (l.provider > $1 or (l.provider = $1 and l.subject > $2)) and l.checked_at < $3 "
        "and l.ended_at is null order by l.provider, l.subject limit $4",
        *place,
        before,
        limit,
    )
    return [_link(row) for row in rows]


async def add_link(tx: Tx, whose: tuple[int, str], account: int, now: int) -> bool:
    """Somebody at a provider (its id, their subject) is an account here; whether neither was anybody else's."""
    provider, subject = whose
    return 0 < await tx.execute(
        "insert into sign_on_link (provider, subject, account, created_at) values ($1, $2, $3, $4) "
        "on conflict do nothing",
        provider,
        subject,
        account,
        now,
    )


async def note_sign_in(tx: Tx, link: LinkRow, email: str, refresh_token: str, now: int) -> None:
    """Somebody has just signed on; what the provider gave replaces what it gave before."""
    await tx.execute(
        "update sign_on_link set email = $1, refresh_token = $2, signed_in_at = $3, checked_at = $3, ended_at = null "
        "where provider = $4 and subject = $5",
        email,
        refresh_token,
        now,
        link.provider,
        link.subject,
    )


async def note_check(tx: Tx, link: LinkRow, refresh_token: str, now: int) -> bool:
    """The provider has vouched for somebody again; whether nobody signed on in the meantime."""
    return 0 < await tx.execute(
        "update sign_on_link set refresh_token = $1, checked_at = $2 "
        "where provider = $3 and subject = $4 and checked_at = $5 and refresh_token = $6",
        refresh_token,
        now,
        link.provider,
        link.subject,
        link.checked_at,
        link.refresh_token,
    )


async def end_link(tx: Tx, link: LinkRow, now: int) -> bool:
    """The provider does not vouch for somebody any more; whether nobody signed on in the meantime."""
    return 0 < await tx.execute(
        "update sign_on_link set ended_at = $1, refresh_token = '' "
        "where provider = $2 and subject = $3 and checked_at = $4 and ended_at is null",
        now,
        link.provider,
        link.subject,
        link.checked_at,
    )


async def remove_link(tx: Tx, link: LinkRow) -> None:
    """Somebody at a provider is nobody here."""
    await tx.execute("delete from sign_on_link where provider = $1 and subject = $2", link.provider, link.subject)


async def count_vouching(tx: Tx, account: int) -> int:
    """How many providers vouch for an account."""
    row = await tx.one("select count(*) from sign_on_link where account = $1 and ended_at is null", account)
    return int(row[0]) if row else 0


def _changeable(provider: Provider) -> tuple[object, ...]:
    return (
        provider.client_id,
        provider.client_secret,
        _text(provider.scopes),
        provider.name_claim,
        provider.email_claim,
        provider.groups_claim,
        _text(provider.domains),
        _text(provider.groups),
        int(provider.creates_accounts),
        int(provider.is_enabled),
    )


def _provider(row: Row) -> Provider:
    lists = {"scopes": _list(row[5]), "domains": _list(row[9]), "groups": _list(row[10])}
    return replace(Provider(*row), **lists, creates_accounts=bool(row[11]), is_enabled=bool(row[12]))


def _link(row: Row) -> LinkRow:
    return replace(LinkRow(*row), is_disabled=bool(row[12]))


def _list(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _text(values: tuple[str, ...]) -> str:
    return msgspec.json.encode(values).decode()

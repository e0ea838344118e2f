"""Rows of sessions, device codes, providers and links, over every engine."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from entrepot.domain.errors import AlreadyExists
from entrepot.domain.sign_on import Provider
from entrepot.metadata import accounts, device_codes, directory, sessions, sign_on
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.device_codes import DeviceRow, NewDeviceRow
from entrepot.metadata.sessions import NewSessionRow, SessionRow
from entrepot.metadata.sign_on import LinkRow
from tests.contract.engines import Held
from tests.contract.rows import NOW
from tests.contract.test_metadata_directory import add_team

IDP = Provider(
    0,
    "idp",
    "https://idp.example",
    "entrepot",
    "sealed",
    ("openid", "email"),
    "preferred_username",
    "email",
    "groups",
    ("example.com",),
    ("devs",),
    creates_accounts=False,
    is_enabled=False,
    created_at=NOW,
)
DEVICE = NewDeviceRow("d1", "u1", "laptop", "cli", "10.0.0.1", "10.0.0.1", "10.0.0.0/24", ("pull",), 5, NOW + 600)


def add_user(held: Held, name: str) -> int:
    """A local user; its id."""
    return held.transact(lambda tx: accounts.add_account(tx, name, "hash", is_admin=False, now=NOW))


def add_provider(held: Held, provider: Provider = IDP) -> Provider:
    """A provider as stored."""
    held.transact(lambda tx: sign_on.add_provider(tx, provider))
    found = held.read(lambda tx: sign_on.find_provider(tx, provider.name))
    assert found is not None
    return found


def add_link(held: Held, provider: Provider, subject: str, account: int) -> LinkRow:
    """A link of somebody who has just signed on."""
    held.transact(lambda tx: sign_on.add_link(tx, (provider.id, subject), account, NOW))
    made = held.read(lambda tx: sign_on.find_link(tx, provider.id, subject))
    assert made is not None
    held.transact(lambda tx: sign_on.note_sign_in(tx, made, "a@example.com", "r1", NOW))
    found = held.read(lambda tx: sign_on.find_link(tx, provider.id, subject))
    assert found is not None
    return found


def open_session(held: Held, account: int, fingerprint: str, until: int, provider: int | None = None) -> int:
    """A session; its id."""
    new = NewSessionRow(account, fingerprint, provider, "10.0.0.1", "Firefox", until)
    return held.transact(lambda tx: sessions.add_session(tx, new, NOW))


def listed(held: Held, account: int) -> list[int]:
    """The sessions of an account."""
    return [row.id for row in held.read(lambda tx: sessions.list_sessions(tx, account, 0, 99))]


def test_sessions(held: Held) -> None:
    """Found by fingerprint and id with whose they are, listed in pages, touched, and ended one by one."""
    ann, idp = add_user(held, "ann"), add_provider(held)
    first = open_session(held, ann, "f1", NOW + 10)
    second = open_session(held, ann, "f2", NOW + 10, idp.id)
    row = held.read(lambda tx: sessions.find_session(tx, "f1"))
    assert row == SessionRow(
        first, ann, "ann", "", "10.0.0.1", "Firefox", 0, NOW, NOW, NOW + 10, is_disabled=False, credentials_since=NOW
    )
    assert row is not None
    assert [row.is_live(NOW + 9), row.is_live(NOW + 10)] == [True, False]
    assert not replace(row, credentials_since=NOW + 1).is_live(NOW)
    assert not replace(row, is_disabled=True).is_live(NOW)
    other = held.read(lambda tx: sessions.get_session(tx, second))
    assert other is not None
    assert other.provider == "idp"
    assert held.read(lambda tx: sessions.find_session(tx, "f3")) is None
    assert held.read(lambda tx: sessions.get_session(tx, 99)) is None
    assert [each.id for each in held.read(lambda tx: sessions.list_sessions(tx, ann, first, 1))] == [second]
    held.transact(lambda tx: sessions.touch_session(tx, first, NOW + 5))
    held.transact(lambda tx: sessions.add_miss(tx, first))
    seen = held.read(lambda tx: sessions.get_session(tx, first))
    assert seen == replace(row, seen_at=NOW + 5, misses=1)
    assert [held.transact(lambda tx: sessions.remove_session(tx, first)) for _ in range(2)] == [True, False]


def test_sessions_go(held: Held) -> None:
    """The oldest go, those of a provider go or last longer, those that ran out, and all with the account."""
    ann, idp = add_user(held, "ann"), add_provider(held)
    numbers = [open_session(held, ann, f"f{number}", NOW + 10, idp.id if number else None) for number in range(4)]
    held.transact(lambda tx: sessions.remove_oldest(tx, ann, 3))
    assert listed(held, ann) == numbers[1:]
    held.transact(lambda tx: sessions.extend_sessions_by(tx, ann, idp.id, NOW + 50))
    assert held.rows("select distinct until from web_session") == [(NOW + 50,)]
    assert held.transact(lambda tx: sessions.remove_sessions_by(tx, ann, idp.id)) == 3
    open_session(held, ann, "old", NOW - 5)
    open_session(held, ann, "older", NOW - 6)
    assert held.transact(lambda tx: sessions.forget_sessions(tx, NOW, 1)) == 1
    fresh = open_session(held, ann, "new", NOW + 5)
    assert listed(held, ann) == [fresh]
    held.transact(lambda tx: accounts.remove_account(tx, ann))
    assert held.rows("select id from web_session") == []


def test_device_codes(held: Held) -> None:
    """Found by either half, each taken once, polled, decided once and removed once."""
    ann = add_user(held, "ann")
    assert held.transact(lambda tx: device_codes.add_device(tx, DEVICE, NOW))
    for again in (DEVICE, replace(DEVICE, fingerprint="d2"), replace(DEVICE, user_code="u2")):
        assert not held.transact(partial(device_codes.add_device, new=again, now=NOW))
    row = DeviceRow(
        "d1", "laptop", "cli", "10.0.0.1", ("pull",), None, 0, None, False, 5, 0, created_at=NOW, until=NOW + 600
    )
    assert held.read(lambda tx: device_codes.find_device(tx, "d1")) == row
    assert held.read(lambda tx: device_codes.find_device_by_code(tx, "u1")) == row
    assert held.read(lambda tx: device_codes.find_device(tx, "u1")) is None
    assert held.read(lambda tx: device_codes.find_device_by_code(tx, "d1")) is None
    held.transact(lambda tx: device_codes.set_polled(tx, "d1", 9, NOW + 1))
    assert held.transact(lambda tx: device_codes.approve_device(tx, "d1", (ann, NOW + 7), NOW + 2))
    assert not held.transact(lambda tx: device_codes.approve_device(tx, "d1", (ann, 0), NOW + 3))
    assert not held.transact(lambda tx: device_codes.deny_device(tx, "d1", NOW + 3))
    assert held.read(lambda tx: device_codes.find_device(tx, "d1")) == replace(
        row, account=ann, account_until=NOW + 7, decided_at=NOW + 2, pause=9, polled_at=NOW + 1
    )
    assert [held.transact(lambda tx: device_codes.remove_device(tx, "d1")) for _ in range(2)] == [True, False]
    held.transact(lambda tx: device_codes.add_device(tx, DEVICE, NOW))
    assert held.transact(lambda tx: device_codes.deny_device(tx, "d1", NOW + 3))
    denied = held.read(lambda tx: device_codes.find_device(tx, "d1"))
    assert denied == replace(row, is_denied=True, decided_at=NOW + 3)


def test_device_codes_are_counted_and_swept(held: Held) -> None:
    """Those that still wait count, of a network, of a site and up to a bound in all; those that ran out are swept."""
    for number, until in enumerate((NOW - 1, NOW, NOW + 1)):
        new = replace(DEVICE, fingerprint=f"d{number}", user_code=f"u{number}", until=until)
        held.transact(partial(device_codes.add_device, new=new, now=NOW))
    assert held.read(lambda tx: device_codes.count_devices_of(tx, "10.0.0.1", NOW)) == 2
    assert held.read(lambda tx: device_codes.count_devices_of(tx, "10.0.0.2", NOW)) == 0
    assert held.read(lambda tx: device_codes.count_devices_of_site(tx, "10.0.0.0/24", NOW)) == 2
    assert held.read(lambda tx: device_codes.count_devices_of_site(tx, "10.0.1.0/24", NOW)) == 0
    assert [held.read(partial(device_codes.count_devices, now=NOW, most=most)) for most in (1, 9)] == [1, 2]
    held.transact(lambda tx: device_codes.sweep_devices(tx, NOW))
    assert held.rows("select fingerprint from device_code order by fingerprint") == [("d1",), ("d2",)]


def test_providers(held: Held) -> None:
    """Found and listed by name as they were added, each name once; all but name and issuer changes."""
    idp = add_provider(held)
    assert idp == replace(IDP, id=idp.id)
    other = add_provider(held, replace(IDP, name="other"))
    with pytest.raises(AlreadyExists):
        add_provider(held)
    assert held.read(lambda tx: sign_on.find_provider(tx, "none")) is None
    assert held.read(lambda tx: sign_on.list_providers(tx, "", 9)) == [idp, other]
    assert held.read(lambda tx: sign_on.list_providers(tx, "idp", 1)) == [other]
    changed = replace(idp, client_id="x", client_secret="", scopes=("openid",), domains=(), groups=(), is_enabled=True)
    held.transact(lambda tx: sign_on.set_provider(tx, changed))
    assert held.read(lambda tx: sign_on.find_provider(tx, "idp")) == changed


def test_links(held: Held) -> None:
    """Found by subject and by account, each once a provider; a sign-in replaces what was kept, and revives."""
    ann, bob, idp = add_user(held, "ann"), add_user(held, "bob"), add_provider(held)
    link = add_link(held, idp, "s1", ann)
    assert link == LinkRow(
        idp.id,
        "idp",
        "s1",
        ann,
        "ann",
        "a@example.com",
        "r1",
        NOW,
        NOW,
        NOW,
        None,
        "local",
        is_disabled=False,
        gone_at=None,
    )
    for taken in ((idp.id, "s1"), (idp.id, "s2")):
        account = bob if taken[1] == "s1" else ann
        assert not held.transact(partial(sign_on.add_link, whose=taken, account=account, now=NOW))
    second = add_link(held, idp, "s2", bob)
    assert held.read(lambda tx: sign_on.find_link(tx, idp.id, "s3")) is None
    assert held.read(lambda tx: sign_on.find_link_of(tx, idp.id, bob)) == second
    assert held.read(lambda tx: sign_on.find_link_of(tx, idp.id, 99)) is None
    assert held.read(lambda tx: sign_on.list_links(tx, idp.id, "", 9)) == [link, second]
    assert held.read(lambda tx: sign_on.list_links(tx, idp.id, "s1", 9)) == [second]
    assert held.read(lambda tx: sign_on.count_vouching(tx, ann)) == 1
    assert held.transact(lambda tx: sign_on.end_link(tx, link, NOW + 1))
    assert not held.transact(lambda tx: sign_on.end_link(tx, link, NOW + 1))
    assert held.read(lambda tx: sign_on.count_vouching(tx, ann)) == 0
    assert add_link(held, idp, "s1", ann) == link
    held.transact(lambda tx: sign_on.remove_link(tx, second))
    assert held.read(lambda tx: sign_on.find_link(tx, idp.id, "s2")) is None
    held.transact(lambda tx: accounts.remove_account(tx, ann))
    assert held.rows("select subject from sign_on_link") == []


def test_links_that_are_due(held: Held) -> None:
    """Those that were vouched for before a time come in pages; who was checked meanwhile is left as they are."""
    idp = add_provider(held)
    links = [add_link(held, idp, f"s{number}", add_user(held, f"u{number}")) for number in range(3)]
    assert held.read(lambda tx: sign_on.list_due(tx, (0, ""), NOW, 9)) == []
    assert held.read(lambda tx: sign_on.list_due(tx, (0, ""), NOW + 1, 2)) == links[:2]
    assert held.read(lambda tx: sign_on.list_due(tx, (idp.id, "s1"), NOW + 1, 2)) == links[2:]
    assert held.transact(lambda tx: sign_on.note_check(tx, links[0], "r2", NOW + 5))
    assert not held.transact(lambda tx: sign_on.note_check(tx, links[0], "r3", NOW + 5))
    assert not held.transact(lambda tx: sign_on.end_link(tx, links[0], NOW + 5))
    held.transact(lambda tx: sign_on.end_link(tx, links[1], NOW + 5))
    assert held.read(lambda tx: sign_on.list_due(tx, (0, ""), NOW + 1, 9)) == links[2:]


def test_a_provider_goes_with_what_it_gave(held: Held) -> None:
    """Links, sessions and memberships go; who came by it alone is disabled, local users and those of others are not."""
    idp, other = add_provider(held), add_provider(held, replace(IDP, name="other"))
    local = add_user(held, "local")
    alone, both = (
        held.transact(partial(directory.add_linked, name=name, external="", now=NOW, source="oidc"))
        for name in ("alone", "both")
    )
    for number, account in enumerate((local, alone, both)):
        add_link(held, idp, f"s{number}", account)
    add_link(held, other, "s2", both)
    acme = held.transact(lambda tx: accounts.add_faceless(tx, Faceless("acme", "organisation"), NOW))
    team = add_team(held, acme, "devs")
    held.transact(lambda tx: directory.add_membership(tx, team, alone, NOW, "oidc:idp"))
    held.transact(lambda tx: directory.add_membership(tx, team, local, NOW, "local"))
    held.transact(lambda tx: directory.add_to_organisation(tx, acme, alone, NOW, "oidc:idp"))
    open_session(held, local, "f1", NOW + 9, idp.id)
    held.transact(lambda tx: sign_on.remove_provider(tx, idp, NOW + 1))
    assert held.rows("select name from account where is_disabled = 1") == [("alone",)]
    assert held.rows("select account from team_member") == [(local,)]
    assert held.rows("select account from organisation_member") == []
    assert held.rows("select account from sign_on_link") == [(both,)]
    assert held.rows("select id from web_session") == []

"""Rows of second factors, addresses, codes of mails and counts of mails, over every engine."""

from __future__ import annotations

import pytest

from entrepot.domain.errors import AlreadyExists
from entrepot.metadata import accounts, emails, mail_codes, organisations, totp
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.emails import EmailRow
from entrepot.metadata.mail_codes import CodeRow
from entrepot.metadata.totp import TotpRow
from entrepot.ports.database import Tx
from tests.contract.engines import Held
from tests.contract.rows import NOW


@pytest.fixture
def ann(held: Held) -> int:
    """The id of a user."""
    return held.transact(lambda tx: accounts.add_account(tx, "ann", "x", is_admin=False, now=NOW))


def begun(held: Held, account: int) -> TotpRow | None:
    """The authenticator of an account."""
    return held.read(lambda tx: totp.find_totp(tx, account))


def has_totp(held: Held) -> bool:
    """Whether the account's own row says that codes are asked for."""
    row = held.read(lambda tx: accounts.find_account(tx, "ann"))
    assert row is not None
    return row.has_totp


def test_an_authenticator_is_begun_and_confirmed_once(held: Held, ann: int) -> None:
    """Before it is confirmed another secret takes its place; afterwards nothing does, and the account says so."""
    assert begun(held, ann) is None
    assert held.transact(lambda tx: totp.put_totp(tx, ann, "first", NOW))
    assert held.transact(lambda tx: totp.put_totp(tx, ann, "second", NOW + 1))
    assert begun(held, ann) == TotpRow(ann, "second", NOW + 1, None, 0, 0, 0)
    assert not has_totp(held)
    assert held.transact(lambda tx: totp.confirm_totp(tx, ann, 7, NOW + 2))
    assert not held.transact(lambda tx: totp.confirm_totp(tx, ann, 8, NOW + 3))
    assert not held.transact(lambda tx: totp.put_totp(tx, ann, "third", NOW + 4))
    assert begun(held, ann) == TotpRow(ann, "second", NOW + 1, NOW + 2, 7, 0, 0)
    assert has_totp(held)
    assert held.read(lambda tx: totp.count_totp(tx, 9)) == 1


def test_steps_go_forward(held: Held, ann: int) -> None:
    """A step and those before it are used up once, also by many at a time; failures are counted until one is right."""
    held.transact(lambda tx: totp.put_totp(tx, ann, "secret", NOW))
    held.transact(lambda tx: totp.add_failure(tx, ann, NOW + 1))
    held.transact(lambda tx: totp.add_failure(tx, ann, NOW + 2))
    assert begun(held, ann) == TotpRow(ann, "secret", NOW, None, 0, 2, NOW + 2)
    assert sorted(held.together([lambda tx: totp.use_step(tx, ann, 9)] * 8)) == [False] * 7 + [True]
    assert not held.transact(lambda tx: totp.use_step(tx, ann, 8))
    assert begun(held, ann) == TotpRow(ann, "secret", NOW, None, 9, 0, NOW + 2)


def test_recovery_codes_are_used_up(held: Held, ann: int) -> None:
    """Each is good once; new ones take the place of all."""
    held.transact(lambda tx: totp.put_recovery_codes(tx, ann, ["a", "b", "c"]))
    assert sorted(held.together([lambda tx: totp.use_recovery_code(tx, ann, "a")] * 8)) == [False] * 7 + [True]
    assert held.read(lambda tx: totp.count_recovery_codes(tx, ann)) == 2
    held.transact(lambda tx: totp.put_recovery_codes(tx, ann, ["d"]))
    assert not held.transact(lambda tx: totp.use_recovery_code(tx, ann, "b"))
    assert held.read(lambda tx: totp.count_recovery_codes(tx, ann)) == 1


def test_everything_of_a_second_factor_is_forgotten(held: Held, ann: int) -> None:
    """With the authenticator go the recovery codes, and with the account both."""

    async def begin(tx: Tx) -> None:
        await totp.put_totp(tx, ann, "secret", NOW)
        await totp.put_recovery_codes(tx, ann, ["a"])

    held.transact(begin)
    assert held.transact(lambda tx: totp.remove_totp(tx, ann))
    assert not held.transact(lambda tx: totp.remove_totp(tx, ann))
    assert held.read(lambda tx: totp.count_recovery_codes(tx, ann)) == 0
    held.transact(begin)
    held.transact(lambda tx: accounts.remove_account(tx, ann))
    assert held.rows("select account from totp union select account from recovery_code") == []


def test_tokens_made_before_are_void(held: Held, ann: int) -> None:
    """Only the time since when they hold moves."""
    held.transact(lambda tx: accounts.void_tokens(tx, ann, NOW + 5))
    assert held.rows("select credentials_since, password_hash from account where id = $1", ann) == [(NOW + 5, "x")]


def test_an_address_is_of_one_account(held: Held, ann: int) -> None:
    """It is found by account and by its folded spelling, replaced, refused to others and forgotten."""
    ben = held.transact(lambda tx: accounts.add_account(tx, "ben", "x", is_admin=False, now=NOW))
    held.transact(lambda tx: emails.put_email(tx, ann, "old@x", "old@x", NOW))
    held.transact(lambda tx: emails.put_email(tx, ann, "Ann@x", "ann@x", NOW + 1))
    row = EmailRow(ann, "ann", "Ann@x", NOW + 1, "local", is_disabled=False)
    assert held.read(lambda tx: emails.find_email(tx, ann)) == row
    assert held.read(lambda tx: emails.find_owner(tx, "ann@x")) == row
    assert held.read(lambda tx: emails.find_email_of(tx, "ann")) == row
    assert held.read(lambda tx: emails.find_email_of(tx, "ben")) is None
    assert held.read(lambda tx: emails.find_owner(tx, "old@x")) is None
    with pytest.raises(AlreadyExists):
        held.transact(lambda tx: emails.put_email(tx, ben, "ann@x", "ann@x", NOW))
    assert held.transact(lambda tx: emails.remove_email(tx, ann))
    assert not held.transact(lambda tx: emails.remove_email(tx, ann))
    assert held.read(lambda tx: emails.find_email(tx, ann)) is None


def code(selector: str, account: int, until: int = NOW + 9) -> CodeRow:
    """A code for another password."""
    return CodeRow(selector, "reset", str(account), account, "ann@x", f"hash of {selector}", "ann", NOW, until)


def test_a_code_replaces_the_one_before(held: Held, ann: int) -> None:
    """For the same purpose and subject; another secret begins its tries anew; it expires and is taken back."""
    for each in ("a", "b"):
        held.transact(lambda tx, each=each: mail_codes.put_code(tx, code(each, ann)))
    assert held.read(lambda tx: mail_codes.find_code(tx, "a", NOW)) is None
    assert held.read(lambda tx: mail_codes.find_code(tx, "b", NOW)) == code("b", ann)
    assert held.read(lambda tx: mail_codes.find_code(tx, "b", NOW + 9)) is None
    assert held.read(lambda tx: accounts.find_account_by_id(tx, ann)) == held.read(
        lambda tx: accounts.find_account(tx, "ann")
    )
    held.transact(lambda tx: mail_codes.try_code(tx, "b", NOW, 1))
    held.transact(lambda tx: mail_codes.set_hash(tx, "b", "another"))
    assert held.rows("select hash, attempts from mail_code") == [("another", 0)]
    held.transact(lambda tx: mail_codes.remove_code(tx, "b"))
    assert held.rows("select * from mail_code") == []


def test_tries_of_a_code_are_bounded(held: Held, ann: int) -> None:
    """However many come at once, and not counting those that are given back; it is used up once."""
    held.transact(lambda tx: mail_codes.put_code(tx, code("a", ann)))
    tries = held.together([lambda tx: mail_codes.try_code(tx, "a", NOW, 3)] * 8)
    assert sorted(tried is not None for tried in tries) == [False] * 5 + [True] * 3
    held.transact(lambda tx: mail_codes.give_back_try(tx, "a"))
    assert held.transact(lambda tx: mail_codes.try_code(tx, "a", NOW, 3)) == code("a", ann)
    assert held.transact(lambda tx: mail_codes.try_code(tx, "a", NOW, 3)) is None
    assert held.transact(lambda tx: mail_codes.try_code(tx, "a", NOW + 9, 9)) is None
    assert sorted(held.together([lambda tx: mail_codes.use_code(tx, code("a", ann))] * 8)) == [False] * 7 + [True]


def test_codes_go_with_what_they_are_for(held: Held, ann: int) -> None:
    """With a new password, by purpose, and with the account."""
    for purge in (
        lambda tx: accounts.set_password(tx, ann, "y", NOW),
        lambda tx: mail_codes.remove_codes(tx, "reset", ann),
        lambda tx: accounts.remove_account(tx, ann),
    ):
        held.transact(lambda tx: mail_codes.put_code(tx, code("a", ann)))
        held.transact(purge)
        assert held.rows("select * from mail_code") == []


def test_invitations_by_mail_are_listed(held: Held) -> None:
    """Those into one organisation, or into none, that hold, by address; they go with the organisation."""
    acme = held.transact(lambda tx: accounts.add_faceless(tx, Faceless("acme", "organisation"), NOW))
    rows = [
        CodeRow("a", "invite", "acme b@x", None, "b@x", "", "ann", NOW, NOW + 9, acme, "owner"),
        CodeRow("b", "invite", "acme a@x", None, "a@x", "", "ann", NOW, NOW + 9, acme, "member"),
        CodeRow("c", "invite", "acme c@x", None, "c@x", "", "ann", NOW, NOW, acme, "member"),
        CodeRow("d", "invite", " d@x", None, "d@x", "", "ann", NOW, NOW + 9),
    ]
    for row in rows:
        held.transact(lambda tx, row=row: mail_codes.put_code(tx, row))
    assert held.read(lambda tx: mail_codes.list_invited(tx, acme, NOW, 9)) == [rows[1], rows[0]]
    assert held.read(lambda tx: mail_codes.list_invited(tx, acme, NOW, 1)) == [rows[1]]
    assert held.read(lambda tx: mail_codes.list_invited(tx, None, NOW, 9)) == [rows[3]]
    held.transact(lambda tx: organisations.remove_organisation(tx, acme))
    assert held.rows("select selector from mail_code") == [("d",)]


def test_mails_are_counted_by_the_hour(held: Held, ann: int) -> None:
    """Each bucket for itself, by all together; its time begins anew; what is over is forgotten with expired codes."""
    counts = held.together([lambda tx: mail_codes.count_mail(tx, "a", NOW, NOW - 5)] * 8)
    assert sorted(counts) == list(range(1, 9))
    assert held.transact(lambda tx: mail_codes.count_mail(tx, "b", NOW, NOW - 5)) == 1
    assert held.transact(lambda tx: mail_codes.count_mail(tx, "a", NOW + 4, NOW - 1)) == 9
    assert held.transact(lambda tx: mail_codes.count_mail(tx, "a", NOW + 5, NOW)) == 1
    held.transact(lambda tx: mail_codes.put_code(tx, code("a", ann, NOW + 1)))
    assert held.read(lambda tx: mail_codes.count_codes(tx, NOW, 9)) == 1
    assert held.read(lambda tx: mail_codes.count_codes(tx, NOW + 1, 9)) == 0
    assert held.transact(lambda tx: mail_codes.forget_expired(tx, NOW + 1, NOW)) == 2
    assert held.rows("select bucket from mail_count") == [("a",)]

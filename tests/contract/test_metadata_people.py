"""Rows of second factors, addresses, codes of mails and counts of mails, over every engine."""

from __future__ import annotations

import pytest

from entrepot.metadata import accounts, totp
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

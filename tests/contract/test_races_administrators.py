"""Administrators who go at the same moment, over every engine: the registry never loses all of them."""

from __future__ import annotations

import pytest

from entrepot.core.accounts import NewAccount, add_account, remove_account
from entrepot.core.standing import AccountChange, change_account
from entrepot.domain.access import Caller, Identity
from entrepot.domain.errors import Conflict
from entrepot.metadata import accounts
from tests.contract.engines import Held
from tests.contract.test_races import Racers

ROUNDS = 6
DEMOTED, DISABLED = AccountChange(is_admin=False), AccountChange(is_disabled=True)
BACK = AccountChange(is_admin=True, is_disabled=False)


@pytest.fixture
def pair(held: Held) -> Racers:
    """A registry with two administrators, `admin` and `ann`."""
    racers = Racers(held)
    held.run(add_account(racers.registry, racers.caller, NewAccount("ann", "ann-password", is_admin=True)))
    return racers


def caller_of(pair: Racers, name: str) -> Caller:
    """An administrator as the guard hands them on."""
    row = pair.held.read(lambda tx: accounts.find_account(tx, name))
    assert row is not None
    return Caller(Identity(row.id, name), None)


@pytest.mark.parametrize(("first", "second"), [(DEMOTED, DEMOTED), (DISABLED, DISABLED), (DEMOTED, DISABLED)])
def test_of_two_who_depose_each_other_one_succeeds(pair: Racers, first: AccountChange, second: AccountChange) -> None:
    """Whichever is first; the other is told that this is the last one."""
    admin, ann = caller_of(pair, "admin"), caller_of(pair, "ann")
    for _ in range(ROUNDS):
        answers = pair.race(
            change_account(pair.registry, admin, "ann", first), change_account(pair.registry, ann, "admin", second)
        )
        assert [isinstance(answer, Conflict) for answer in answers].count(True) == 1, answers
        assert pair.held.read(accounts.count_administrators) == 1
        winner, loser = (admin, "ann") if isinstance(answers[1], Conflict) else (ann, "admin")
        pair.held.run(change_account(pair.registry, winner, loser, BACK))


def test_one_is_removed_while_the_other_is_demoted(pair: Racers) -> None:
    """One of the two is refused, and somebody is left who administers."""
    admin, ann = caller_of(pair, "admin"), caller_of(pair, "ann")
    answers = pair.race(
        remove_account(pair.registry, admin, "ann"), change_account(pair.registry, ann, "admin", DEMOTED)
    )
    assert [isinstance(answer, Conflict) for answer in answers].count(True) == 1, answers
    assert pair.held.read(accounts.count_administrators) == 1

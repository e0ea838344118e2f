"""Owners who go at the same moment, over every engine: an organisation never loses all of them."""

from __future__ import annotations

import pytest

from entrepot.core.accounts import NewAccount, add_account, remove_account
from entrepot.core.organisations import NewOrganisation, create_organisation, put_member, remove_member
from tests.contract.engines import Held
from tests.contract.test_races import Racers, is_refused

ROUNDS = 6


@pytest.fixture
def company(held: Held) -> Racers:
    """A registry over one engine, in which the administrator owns the organisation `acme`."""
    racers = Racers(held)
    held.run(create_organisation(racers.registry, racers.caller, NewOrganisation("acme")))
    return racers


def owners(company: Racers) -> int:
    """How many users own it."""
    ((count,),) = company.held.rows("select count(*) from organisation_member where role = 'owner'")
    return int(count)


def test_of_two_owners_who_leave_at_once_one_stays(company: Racers) -> None:
    """Whichever is first goes, by leaving, by being made a member or by being removed; the other is refused."""
    registry, caller = company.registry, company.caller
    company.held.run(add_account(registry, caller, NewAccount("ann", "ann-password")))
    for number in range(ROUNDS):
        for name in ("admin", "ann"):
            company.held.run(put_member(registry, caller, "acme", name, "owner"))
        first = remove_member(registry, caller, "acme", "admin")
        second = (
            remove_member(registry, caller, "acme", "ann")
            if number % 2
            else put_member(registry, caller, "acme", "ann", "member")
        )
        answers = company.race(first, second)
        assert sum(map(is_refused, answers)) == 1
        assert owners(company) == 1


def test_a_removed_user_leaves_an_owner_behind(company: Racers) -> None:
    """While one owner leaves, the other one's account is removed: one of the two is refused."""
    registry, caller = company.registry, company.caller
    for number in range(ROUNDS):
        name = f"ann{number}"
        company.held.run(add_account(registry, caller, NewAccount(name, "ann-password")))
        for each in ("admin", name):
            company.held.run(put_member(registry, caller, "acme", each, "owner"))
        answers = company.race(remove_member(registry, caller, "acme", "admin"), remove_account(registry, caller, name))
        assert sum(map(is_refused, answers)) == 1
        assert owners(company) == 1
        company.held.run(put_member(registry, caller, "acme", "admin", "owner"))
        company.race(remove_account(registry, caller, name))

"""Rows of wrong passwords and of what was pulled and asked for, over every engine."""

from __future__ import annotations

from entrepot.domain.attempts import Tally
from entrepot.metadata import attempts, rates
from entrepot.metadata.attempts import Place
from tests.contract.engines import Held
from tests.contract.rows import NOW

PAIR, NAME, NETWORK = Place("p", "n", "192.0.2.7"), Place("n", "n", ""), Place("w", "", "192.0.2.7")


def test_failures_are_counted_and_forgotten(held: Held) -> None:
    """Counts are stored by key and replaced, zero is no row, and a name is forgotten with all its networks."""
    held.transact(lambda tx: attempts.put_tallies(tx, {PAIR: Tally(1, NOW, NOW), NETWORK: Tally(1, NOW, 0)}))
    held.transact(lambda tx: attempts.put_tallies(tx, {PAIR: Tally(2, NOW, NOW + 5), NAME: Tally(3, NOW, NOW + 9)}))
    assert held.read(lambda tx: attempts.list_tallies(tx, ["p", "w", "x"])) == {
        "p": Tally(2, NOW, NOW + 5),
        "w": Tally(1, NOW, 0),
    }
    assert held.read(lambda tx: attempts.list_locks(tx, ["n", "m"], NOW)) == {"n": NOW + 9}
    assert held.read(lambda tx: attempts.list_locks(tx, ["n"], NOW + 9)) == {}
    held.transact(lambda tx: attempts.put_tallies(tx, {NETWORK: Tally(0, NOW, 0)}))
    assert held.transact(lambda tx: attempts.remove_name(tx, "n")) == 2
    assert held.read(lambda tx: attempts.list_tallies(tx, ["p", "n", "w"])) == {}


def test_old_failures_go(held: Held) -> None:
    """By the time of the last one, a batch at a time; the oldest of so many newest is found."""
    for number in range(5):
        place = Place(f"k{number}", "n", "")
        held.transact(lambda tx, place=place, at=number: attempts.put_tallies(tx, {place: Tally(1, at + 1, 0)}))
    assert held.read(lambda tx: attempts.find_oldest_attempt_of(tx, 2)) == 4
    assert held.read(lambda tx: attempts.find_oldest_attempt_of(tx, 6)) == 0
    assert held.transact(lambda tx: attempts.remove_attempts(tx, 4, 2)) == 2
    assert held.transact(lambda tx: attempts.remove_attempts(tx, 4, 2)) == 1
    assert held.transact(lambda tx: attempts.remove_attempts(tx, 4, 2)) == 0


def test_familiar_places(held: Held) -> None:
    """When somebody last logged in from a place is known until it is old."""
    assert held.read(lambda tx: attempts.find_familiar(tx, "p")) == 0
    for at in (NOW, NOW + 7):
        held.transact(lambda tx, at=at: attempts.put_familiar(tx, PAIR, at))
    assert held.read(lambda tx: attempts.find_familiar(tx, "p")) == NOW + 7
    assert held.transact(lambda tx: attempts.remove_familiar(tx, NOW + 7, 9)) == 0
    assert held.transact(lambda tx: attempts.remove_familiar(tx, NOW + 8, 9)) == 1


def test_rates_add_up(held: Held) -> None:
    """What processes have counted is added to who is ahead, or begins at the present; the past is forgotten."""
    assert held.transact(lambda tx: rates.push_ahead(tx, "a", 10, NOW)) == NOW + 10
    assert held.transact(lambda tx: rates.push_ahead(tx, "a", 5, NOW + 2)) == NOW + 15
    assert held.transact(lambda tx: rates.push_ahead(tx, "a", 5, NOW + 90)) == NOW + 95
    assert held.transact(lambda tx: rates.push_ahead(tx, "b", 1, NOW)) == NOW + 1
    assert held.transact(lambda tx: rates.remove_rates(tx, NOW + 2, 9)) == 1
    assert held.transact(lambda tx: rates.remove_rates(tx, NOW + 96, 9)) == 1

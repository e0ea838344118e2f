"""A server that failed is left alone, and tried again by one caller at a time."""

from __future__ import annotations

import pytest

from entrepot.authn._circuit import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Circuit


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    """The clock of the circuit."""
    return Time()


@pytest.fixture
def circuit(time: Time) -> Circuit:
    """A closed circuit."""
    return Circuit(time)


def test_a_closed_circuit_lets_everybody_through(circuit: Circuit) -> None:
    """As many at once as like."""
    assert [circuit.enter() for _ in range(3)] == [True] * 3
    circuit.heal()
    circuit.leave()
    assert (circuit.enter(), circuit.reason) == (True, "")


def test_a_failure_opens_it_for_a_pause(circuit: Circuit, time: Time) -> None:
    """Nobody is let through until the pause is over; then one at a time."""
    circuit.enter()
    circuit.fail("away")
    assert (circuit.enter(), circuit.is_passable(), circuit.reason) == (False, False, "away")
    time.seconds = FIRST_PAUSE_SECONDS
    assert circuit.is_passable()
    assert [circuit.enter(), circuit.enter()] == [True, False]
    circuit.leave()
    assert [circuit.enter(), circuit.enter()] == [True, False]


def test_a_probe_that_succeeds_closes_it(circuit: Circuit, time: Time) -> None:
    """And the next failure begins with the first pause again."""
    for _ in range(3):
        time.seconds += LONGEST_PAUSE_SECONDS
        assert circuit.enter()
        circuit.fail("away")
    time.seconds += LONGEST_PAUSE_SECONDS
    assert circuit.enter()
    circuit.heal()
    assert (circuit.reason, circuit.enter(), circuit.enter()) == ("", True, True)
    circuit.fail("away")
    time.seconds += FIRST_PAUSE_SECONDS
    assert circuit.enter()


def test_pauses_double_up_to_a_limit(circuit: Circuit, time: Time) -> None:
    """With each probe that fails; those who were let through together with the first failure count once."""
    circuit.fail("away")
    for _ in range(5):
        circuit.fail("late")
    pauses = []
    for _ in range(6):
        before = time.seconds
        while not circuit.enter():
            time.seconds += 0.5
        pauses.append(time.seconds - before)
        circuit.fail("still away")
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert circuit.reason == "still away"

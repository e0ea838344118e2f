"""How wrong passwords are counted, and how long locks are."""

from __future__ import annotations

from entrepot.domain.attempts import FORGET_SECONDS, SECOND, Tally, Tolerance

BEARS_THREE = Tolerance(3, 60)


def test_locks_double_up_to_the_longest() -> None:
    """None before the failure that is too many, then a second, doubled by each more, and never more than the most."""
    assert [BEARS_THREE.lock_seconds(count) for count in range(1, 12)] == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert BEARS_THREE.lock_seconds(10**9) == 60


def test_an_hour_forgets() -> None:
    """An hour after the last failure, or after the end of the last lock, counting begins anew."""
    tally = Tally()
    for _ in range(9):
        tally = tally.failed(BEARS_THREE, 1000)
    assert (tally.failures, tally.locked_until) == (9, 1000 + 60 * SECOND)
    later = tally.locked_until + FORGET_SECONDS * SECOND
    assert tally.failed(BEARS_THREE, later - 1).failures == 10
    assert tally.failed(BEARS_THREE, later) == Tally(1, later, 0)


def test_a_failure_that_is_borne_locks_nothing() -> None:
    """Not even for whoever has a clock that is behind the one it was counted by."""
    assert Tally().failed(BEARS_THREE, 1000) == Tally(1, 1000, 0)
    assert Tally(2, 1000, 0).failed(BEARS_THREE, 2000) == Tally(3, 2000, 2000 + SECOND)


def test_what_is_taken_back_lifts_its_lock() -> None:
    """Fewer failures than a lock needs lift it, and there are never fewer than none."""
    tally = Tally(4, 5, 500)
    assert tally.less(1, BEARS_THREE) == Tally(3, 5, 500)
    assert tally.less(2, BEARS_THREE) == Tally(2, 5, 0)
    assert tally.less(9, BEARS_THREE) == Tally(0, 5, 0)

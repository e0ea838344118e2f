"""The pace of requests: never more than was said, and what clients are told of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.rates import SECOND, Pace, Standing

PACES = st.builds(Pace, st.integers(1, 10_000), st.integers(1, 86_400))
WAITS = st.lists(st.integers(0, 120 * SECOND), max_size=200)


@given(PACES, WAITS)
def test_no_span_admits_more_than_pace_and_burst(pace: Pace, waits: list[int]) -> None:
    """Whatever comes whenever, in any span from the first to any request: at most rate x time + burst are admitted."""
    now = ahead = 1_790_000_000 * SECOND
    admitted: list[int] = []
    for wait in waits:
        now += wait
        after = pace.take(ahead, now)
        if after is not None:
            ahead = after
            admitted.append(now)
    for start in range(0, len(admitted), 17):
        for stop in range(start, len(admitted)):
            span = admitted[stop] - admitted[start]
            assert stop - start + 1 <= span * pace.requests / (pace.seconds * SECOND) + pace.requests + 1e-6


@given(PACES, st.integers(0, 10**6))
def test_what_is_told_is_true(pace: Pace, spent: int) -> None:
    """So many as remain are admitted at once and no further one; after the time to retry the next one is."""
    now, ahead = SECOND, 0
    for _ in range(min(spent, pace.requests, 200)):
        after = pace.take(ahead, now)
        assert after is not None
        ahead = after
    left = pace.remaining(ahead, now)
    assert left == pace.requests - min(spent, pace.requests, 200)
    full = now + pace.depth
    assert pace.take(full, now) is None
    assert pace.remaining(full, now) == 0
    assert pace.take(full, now + pace.retry_seconds(full, now) * SECOND) is not None
    assert pace.remaining(full, now + pace.reset_seconds(full, now) * SECOND) == pace.requests


def test_headers_are_those_of_docker_hub() -> None:
    """Limit and what remains with their window, when all remain again."""
    assert Standing(100, 21600, 76, 5).headers() == [
        (b"ratelimit-limit", b"100;w=21600"),
        (b"ratelimit-remaining", b"76;w=21600"),
        (b"ratelimit-reset", b"5"),
    ]

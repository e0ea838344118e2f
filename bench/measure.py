"""Samples, interleaved rounds, medians, and the lines of the table."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from bench import process
from bench.load import Outcome
from bench.servers import Target

QUIET_CORES = 0.25
QUIET_SECONDS = 0.25


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement of one server."""

    rate: float
    cpu_per_1000: float
    p50: float
    p99: float
    slowest: float
    pss: float
    errors: int
    message: str
    client_cores: float
    other_cores: float
    seconds: float


def measure(target: Target, load: Callable[[], Outcome]) -> Sample:
    """Run a load against a target and read what the target spent on it."""
    machine, before = process.machine_seconds(), target.cpu()
    outcome = load()
    used = target.cpu() - before
    others = process.machine_seconds() - machine - used - outcome.client_cpu
    return Sample(
        rate=outcome.rate,
        cpu_per_1000=1000 * used / outcome.count if outcome.count else 0.0,
        p50=outcome.p50,
        p99=outcome.p99,
        slowest=outcome.slowest,
        pss=target.pss(),
        errors=outcome.errors,
        message=outcome.message,
        client_cores=outcome.client_cpu / outcome.seconds if outcome.seconds else 0.0,
        other_cores=others / outcome.seconds if outcome.seconds else 0.0,
        seconds=outcome.seconds,
    )


Side = Callable[[], Sample]


class Quiet:
    """Waits, for so many seconds in all and no longer, until nobody else uses the machine."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def wait(self) -> None:
        """Return when others use less than a quarter of a core, or when patience is at its end."""
        while self.left > 0:
            began, before = time.monotonic(), process.machine_seconds()
            time.sleep(QUIET_SECONDS)
            passed = time.monotonic() - began
            if process.machine_seconds() - before < QUIET_CORES * passed:
                return
            self.left -= passed


def interleave(rounds: int, sides: Sequence[Side]) -> list[list[Sample]]:
    """Each side once a round, the order turned round every time, so that drift hits all alike."""
    found: list[list[Sample]] = [[] for _ in sides]
    for number in range(rounds):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for side in order:
            found[side].append(sides[side]())
    return found


def median(samples: Sequence[Sample], what: str) -> float:
    """The median of one number over the rounds."""
    return statistics.median(getattr(sample, what) for sample in samples) if samples else 0.0


@dataclasses.dataclass
class Line:
    """One line of the table: what was measured on our side and theirs, what was asked, and whether it holds."""

    row: str
    what: str
    budget: str
    unit: str = "/s"
    ours: list[Sample] = dataclasses.field(default_factory=list)
    theirs: list[Sample] = dataclasses.field(default_factory=list)
    against: str = "distribution"
    scale: float = 1.0
    verdicts: list[tuple[str, bool]] = dataclasses.field(default_factory=list)
    note: str = ""
    value: float | None = None
    other: float | None = None

    def __post_init__(self) -> None:
        self.require_errorless()

    def require_errorless(self) -> None:
        """Our side must not have failed once; what went wrong goes into the note."""
        errors = sum(sample.errors for sample in self.ours)
        if errors:
            self.verdicts.append((f"{errors} errors", False))
            self.note = next(sample.message for sample in self.ours if sample.message)
        if any(sample.errors for sample in self.theirs):
            message = next(sample.message for sample in self.theirs if sample.message)
            self.note = f"{self.note} {self.against}: {message}".strip()

    @property
    def our_value(self) -> float:
        """Our number, in the line's unit."""
        return self.value if self.value is not None else median(self.ours, "rate") * self.scale

    @property
    def their_value(self) -> float | None:
        """Their number, in the line's unit."""
        if self.other is not None:
            return self.other
        return median(self.theirs, "rate") * self.scale if self.theirs else None

    @property
    def ratio(self) -> float | None:
        """Ours to theirs."""
        theirs = self.their_value
        return self.our_value / theirs if theirs else None

    @property
    def spread(self) -> float:
        """How far our rounds lay apart, as a share of their median: the noise of this line."""
        rates = [sample.rate for sample in self.ours]
        return (max(rates) - min(rates)) / statistics.median(rates) if rates and median(self.ours, "rate") else 0.0

    @property
    def holds(self) -> bool:
        """Whether every part of the budget holds."""
        return all(holds for _, holds in self.verdicts)

    def require(self, name: str, *, holds: bool) -> Line:
        """Add one part of the budget."""
        self.verdicts.append((name, holds))
        return self

    def at_least(self, ratio: float) -> Line:
        """The ratio must be at least this."""
        found = self.ratio or 0.0
        return self.require(f"ratio {found:.2f} of {ratio}", holds=found >= ratio)

    def at_most(self, limit: float) -> Line:
        """Our value must be at most this."""
        return self.require(f"{self.our_value:.4g} of {limit:g}", holds=self.our_value <= limit)

    def tail_no_worse(self) -> Line:
        """Our p99 must not be above theirs."""
        ours, theirs = median(self.ours, "p99"), median(self.theirs, "p99")
        return self.require(f"p99 {ours * 1000:.1f} of {theirs * 1000:.1f} ms", holds=ours <= theirs)


def say(text: str) -> None:
    """A word of progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)

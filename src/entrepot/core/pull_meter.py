"""What this process knows of who has pulled how much: its own pulls, and what it has heard of the other processes.

Whatever is uncertain is left out, so that nobody is refused what their plan gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from entrepot.domain.errors import TooMany
from entrepot.domain.networks import Networks
from entrepot.domain.plans import SECOND, Plan, Window
from entrepot.domain.rates import Standing

# So long it is believed what was heard.
BELIEVED: Final = SECOND
MOST_HELD: Final = 50_000
SPANS: Final = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


class Payer(msgspec.Struct, frozen=True):
    """Who bears a pull: an account (0 for an address), the name to tell, and the plan that limits it."""

    account: int
    name: str
    plan: Plan
    most: int

    @property
    def key(self) -> str:
        """Under which it is counted."""
        return f"account {self.account}" if self.account else f"address {self.name}"


def payer_for(account: int, name: str, plan: Plan | None) -> Payer | None:
    """Who bears a pull; None where nothing limits them."""
    return None if plan is None or plan.pulls is None else Payer(account, name, plan, plan.pulls)


class News(msgspec.Struct, frozen=True):
    """What this process has let through since it last told: within which window, of what length (microseconds)."""

    key: str
    window: Window
    length: int


class _Held(msgspec.Struct):
    began_at: int
    length: int
    heard_at: int
    pulls: int = 0

    def is_over(self, now: int) -> bool:
        return self.began_at + self.length <= now


class PullMeter:
    """Windows by key, those that began first forgotten first; `exempt` are addresses and networks not counted."""

    def __init__(self, exempt: Sequence[str] = ()) -> None:
        self._held: dict[str, _Held] = {}
        self._unsent: dict[str, int] = {}
        self.is_exempt = Networks(exempt).holds

    def is_due(self, payer: Payer, now: int) -> bool:
        """Whether the database is to be asked first; what it would say of a plan that is used up is known."""
        held = self._find(payer, now)
        if held is None or held.pulls >= payer.most or now < held.heard_at + BELIEVED:
            return held is None
        # Those who come meanwhile go by what was heard before.
        held.heard_at = now
        return True

    def look(self, payer: Payer, now: int) -> Standing:
        """Where somebody stands."""
        return _standing(payer, self._find(payer, now), now)

    def take(self, payer: Payer, now: int) -> Standing:
        """Where somebody stands after one more pull. Raises TooMany."""
        held = self._find(payer, now) or self._keep(payer.key, _Held(now, payer.plan.window, now))
        if held.pulls >= payer.most:
            raise _too_many(payer, held, now)
        held.pulls += 1
        self._unsent[payer.key] = self._unsent.get(payer.key, 0) + 1
        return _standing(payer, held, now)

    def learn(self, key: str, row: Window | None, length: int, now: int) -> None:
        """What all processes have let through together, to which comes what this one has let through meanwhile."""
        held = self._held.get(key)
        if row is None or row.began_at + length <= now:
            return
        if held is None or held.is_over(now):
            self._keep(key, _Held(row.began_at, length, now, row.pulls))
            return
        held.heard_at = now
        held.began_at = min(held.began_at, row.began_at)
        held.pulls = max(held.pulls, row.pulls + self._unsent.get(key, 0))

    def take_unsent(self, now: int) -> list[News]:
        """What the others are to be told, once: windows that are over are nobody's concern any more."""
        unsent, self._unsent = self._unsent, {}
        held = ((key, number, self._held[key]) for key, number in sorted(unsent.items()))
        return [
            News(key, Window(each.began_at, number), each.length) for key, number, each in held if not each.is_over(now)
        ]

    def _find(self, payer: Payer, now: int) -> _Held | None:
        held = self._held.get(payer.key)
        if held is None:
            return None
        # The plan may have become another one since.
        held.length = payer.plan.window
        return None if held.is_over(now) else held

    def _keep(self, key: str, held: _Held) -> _Held:
        # What was let through in a window that is over is nobody's concern any more.
        self._forget(key)
        self._held[key] = held
        if len(self._held) > MOST_HELD:
            self._forget(next(iter(self._held)))
        return held

    def _forget(self, key: str) -> None:
        self._held.pop(key, None)
        self._unsent.pop(key, None)


def _standing(payer: Payer, held: _Held | None, now: int) -> Standing:
    pulls, reset = (held.pulls, _seconds(held, now)) if held else (0, 0)
    return Standing(payer.most, payer.plan.window_seconds, max(0, payer.most - pulls), reset, payer.name)


def _seconds(held: _Held, now: int) -> int:
    return -(-(held.began_at + held.length - now) // SECOND)


def _too_many(payer: Payer, held: _Held, now: int) -> TooMany:
    plan, wait = payer.plan, _seconds(held, now)
    ends_at = datetime.fromtimestamp(-(-(held.began_at + held.length) // SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    whose = payer.name if payer.account else f"the address {payer.name}, without a login,"
    remedy = "ask an administrator for another plan" if payer.account else "log in to have pulls of your own"
    error = TooMany(
        f"{whose} has used its {payer.most} pulls in {_span(plan.window_seconds)} (plan {plan.name}): {remedy}, or try "
        f"again at {ends_at}, in {wait} s",
        retry_after=wait,
        limit=payer.most,
        window_seconds=plan.window_seconds,
        plan=plan.name,
        source=payer.name,
        ends_at=ends_at,
    )
    error.standing = _standing(payer, held, now)
    return error


def _span(seconds: int) -> str:
    length, unit = next(each for each in SPANS if seconds % each[0] == 0)
    return f"{seconds // length} {unit}"

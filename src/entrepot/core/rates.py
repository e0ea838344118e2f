"""Rate limits: counted in this process at each request, and with the other processes through the database each second.

Only who is near a limit is exchanged, so that a crowd of strangers costs no rows: each process may admit a tenth of a
limit, and what comes within a second, more than the limit says.
"""

from __future__ import annotations

import heapq
from typing import Final

import msgspec

from entrepot.core.registry import Registry
from entrepot.domain.errors import TooMany
from entrepot.domain.networks import Networks, network_of
from entrepot.domain.rates import Pace, Standing
from entrepot.metadata import rates
from entrepot.ports.database import Tx

MINUTE: Final = 60
MOST_HELD: Final = 50_000
MOST_EXCHANGED: Final = 500
# Who has used less than this part of a limit is not exchanged.
NEAR: Final = 10
BATCH: Final = 500
WHO: Final = {"address": "this address", "anonymous": "this address without a login", "identity": "this account"}


class RateRules(msgspec.Struct, frozen=True):
    """Requests a minute, 0 for any number; `exempt` are addresses and networks that are not counted."""

    address_per_minute: int = 0
    anonymous_per_minute: int = 0
    identity_per_minute: int = 0
    exempt: tuple[str, ...] = ()

    @property
    def is_off(self) -> bool:
        """Whether nothing is limited."""
        return not (self.address_per_minute or self.anonymous_per_minute or self.identity_per_minute)


class Limiter:
    """What this process has counted: until when each is ahead, the least recently seen forgotten first."""

    def __init__(self, rules: RateRules) -> None:
        numbers = {
            "address": rules.address_per_minute,
            "anonymous": rules.anonymous_per_minute,
            "identity": rules.identity_per_minute,
        }
        self._paces = {kind: Pace(number, MINUTE) for kind, number in numbers.items() if number}
        # Whether whoever comes from an address is not counted.
        self.is_exempt = Networks(rules.exempt).holds
        self._ahead: dict[str, int] = {}
        self._unsent: dict[str, int] = {}

    def take(self, kind: str, who: str, now: int) -> Standing | None:
        """Count a request of somebody; None where nothing of this kind is limited. Raises TooMany."""
        pace = self._paces.get(kind)
        if pace is None:
            return None
        key = f"{kind} {who}"
        ahead = self._ahead.pop(key, 0)
        after = pace.take(ahead, now)
        self._ahead[key] = ahead if after is None else after
        if len(self._ahead) > MOST_HELD:
            oldest = next(iter(self._ahead))
            del self._ahead[oldest]
            self._unsent.pop(oldest, None)
        if after is None:
            raise _too_many(kind, pace, ahead, now)
        self._unsent[key] = self._unsent.get(key, 0) + pace.interval
        return Standing(pace.requests, pace.seconds, pace.remaining(after, now), pace.reset_seconds(after, now))

    def near(self, now: int) -> dict[str, int]:
        """What is to be exchanged now, the nearest to their limits."""
        unsent, self._unsent = self._unsent, {}
        near: dict[str, int] = {}
        for key, amount in unsent.items():
            ahead = self._ahead[key] - now
            if ahead > self._paces[key.partition(" ")[0]].depth // NEAR:
                near[key] = min(amount, ahead)
            elif ahead > 0:
                self._unsent[key] = amount
        return {key: near[key] for key in heapq.nlargest(MOST_EXCHANGED, near, key=self._ahead.__getitem__)}

    def learn(self, ahead: dict[str, int]) -> None:
        """What all processes have counted together, to which comes what this one has counted meanwhile."""
        for key, until in ahead.items():
            if key in self._ahead:
                self._ahead[key] = until + self._unsent.get(key, 0)


def _too_many(kind: str, pace: Pace, ahead: int, now: int) -> TooMany:
    wait = pace.retry_seconds(ahead, now)
    text = f"{WHO[kind]} may send {pace.requests} requests a minute; try again in {wait} s"
    error = TooMany(text, retry_after=wait, limit=pace.requests, window_seconds=pace.seconds)
    error.standing = Standing(pace.requests, pace.seconds, 0, pace.reset_seconds(ahead, now))
    return error


def take(registry: Registry, limiter: Limiter, kind: str, who: str) -> Standing | None:
    """Count a request, and count it among the refused if it is too much. Raises TooMany."""
    try:
        return limiter.take(kind, network_of(who) if kind != "identity" else who, registry.clock.now())
    except TooMany:
        registry.lockouts.count(f"rate.{kind}")
        raise


async def exchange_rates(registry: Registry, limiter: Limiter) -> None:
    """Tell the other processes who is near a limit, and learn what they have counted. Raises Unavailable."""
    now = registry.clock.now()
    near = limiter.near(now)
    if not near:
        return

    async def record(tx: Tx) -> dict[str, int]:
        return {key: await rates.push_ahead(tx, key, amount, now) for key, amount in sorted(near.items())}

    limiter.learn(await registry.database.transact(record, durable=False))


async def expire_rates(registry: Registry) -> int:
    """Forget who is not ahead of the present any more; how many rows."""
    now, total = registry.clock.now(), 0
    while gone := await registry.database.transact(lambda tx: rates.remove_rates(tx, now, BATCH)):
        total += gone
    return total

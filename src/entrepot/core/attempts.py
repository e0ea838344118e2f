"""Guessing at passwords: each try is counted before it is judged, and too many failures are answered without judging.

Counted are a name from a network, a name from everywhere and a network with any name, in the database, so that all
workers and replicas count together. A try is counted first and taken back if it was right: many at once get no more
tries than one after the other. Names that nobody has are counted like all others. docs/decisions/0019.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from entrepot.core.lockouts import Lock
from entrepot.core.registry import DAY, SECOND, Registry
from entrepot.domain.attempts import WIDE, Tally, Tolerance
from entrepot.domain.errors import CodeNeeded, EnrolmentNeeded, EntrepotError, TooMany, Unauthenticated, Unavailable
from entrepot.domain.networks import network_of
from entrepot.metadata import attempts
from entrepot.metadata.attempts import Place
from entrepot.ports.database import Tx

T = TypeVar("T")
FAMILIAR_DAYS: Final = 30
MOST_TYPED: Final = 256
LOCKED: Final = "too many wrong passwords or secrets from here or for this name; try again in {seconds} s"


class Places(msgspec.Struct, frozen=True):
    """What one try is counted as, each with what it bears; `pair` and `name` are None for a secret without a name."""

    network: Place
    pair: Place | None = None
    name: Place | None = None

    def tolerances(self, failures: int, seconds: int) -> dict[Place, Tolerance]:
        """Each place with how much it bears."""
        wide = Tolerance(failures * WIDE, seconds)
        found = {self.network: wide}
        if self.pair is not None and self.name is not None:
            found |= {self.pair: Tolerance(failures, seconds), self.name: wide}
        return found


class Verdict(msgspec.Struct, frozen=True):
    """What counting a try made of each place, or else which one is locked until when (microseconds)."""

    after: dict[Place, Tally]
    locked: Place | None = None
    until: int = 0
    is_familiar: bool = False


def places_of(registry: Registry, typed: str, address: str) -> Places:
    """What a try with a name from an address is counted as; "" for no name."""
    network = network_of(address)
    where = Place(_key(registry, f"network {network}"), "", network)
    if not typed:
        return Places(where)
    hashed = name_key(registry, typed)
    pair = Place(_key(registry, f"pair {network} {hashed}"), hashed, network)
    return Places(where, pair, Place(hashed, hashed, ""))


async def prove_once(
    registry: Registry, typed: str, address: str, prove: Callable[[], Awaitable[T]], known: T | None = None
) -> T:
    """What is `known` or what `prove` answers, unless too many failures came before; its Unauthenticated is one more.

    Raises TooMany with `retry_after` (seconds), and whatever `prove` raises.
    """
    if not registry.rules.lockout_failures:
        return await prove() if known is None else known
    places = places_of(registry, typed, address)
    if known is not None:
        # Proved from elsewhere a moment ago: no guess, but heard no more than a guess would be, or the lock would only
        # make it quicker to guess what somebody is using.
        if not await _begin(registry, places, typed, is_known=True):
            await _take_back(registry, places, is_right=True)
        return known
    await _begin(registry, places, typed)
    try:
        proved = await prove()
    except (CodeNeeded, EnrolmentNeeded):
        # The password was right; wrong codes are counted where they are looked at.
        await _take_back(registry, places, is_right=False)
        raise
    except Unauthenticated:
        raise
    except EntrepotError:
        await _take_back(registry, places, is_right=False)
        raise
    await _take_back(registry, places, is_right=True)
    return proved


async def settle(registry: Registry, typed: str, address: str) -> None:
    """Whoever gave the right password before has given the right code as well: what they got wrong is forgotten."""
    if registry.rules.lockout_failures:
        await _take_back(registry, places_of(registry, typed, address), is_right=True)


async def count_wrong_secret(registry: Registry, address: str) -> None:
    """One more wrong secret from an address. Raises TooMany where there were too many. Right ones are never refused."""
    if registry.rules.lockout_failures:
        await _begin(registry, places_of(registry, "", address), "")


def is_flooded(registry: Registry, typed: str, address: str) -> bool:
    """Whether guesses at a name from a network come so fast that not even what was proved there may tell them apart."""
    if not registry.lockouts.has_refusals:
        return False
    pair = places_of(registry, typed, address).pair
    return pair is not None and registry.lockouts.is_flooded(pair.key, registry.clock.now())


async def _begin(registry: Registry, places: Places, typed: str, *, is_known: bool = False) -> bool:
    """Count a try, unless what it says is known; whether its place is familiar. Raises TooMany."""
    now = registry.clock.now()
    tolerances = places.tolerances(registry.rules.lockout_failures, registry.rules.lockout_seconds)
    for place in tolerances:
        if (until := registry.lockouts.find(_held_key(places, place), now)) > 0:
            raise _refused(registry, places, until)

    async def count(tx: Tx) -> Verdict:
        seen = await attempts.list_tallies(tx, [place.key for place in tolerances])
        is_familiar = places.pair is not None and await _is_familiar(tx, places.pair, now)
        verdict = _judge(places, tolerances, seen, now, is_familiar=is_familiar)
        if verdict.locked is None and not is_known:
            await attempts.put_tallies(tx, verdict.after)
        return msgspec.structs.replace(verdict, is_familiar=is_familiar)

    try:
        verdict = await registry.database.transact(count, durable=False)
    except Unavailable:
        # Reads go on while nothing can be written; and whoever makes room on a full disk has to log in for it.
        verdict = _judge(places, tolerances, registry.lockouts.alone, now, is_familiar=False)
        registry.lockouts.count_alone({place.key: tally for place, tally in verdict.after.items()})
    if verdict.locked is not None:
        registry.lockouts.hold(_held_key(places, verdict.locked), verdict.until, now)
        raise _refused(registry, places, verdict.until)
    if not is_known:
        _tell(registry, places, typed, verdict.after)
    return verdict.is_familiar


def _judge(
    places: Places, tolerances: dict[Place, Tolerance], seen: Mapping[str, Tally], now: int, *, is_familiar: bool
) -> Verdict:
    for place in tolerances:
        tally = seen.get(place.key, Tally())
        # Whoever has logged in from here lately is not kept out by what others do.
        if tally.locked_until > now and (place is places.pair or not is_familiar):
            return Verdict({}, place, tally.locked_until)
    return Verdict({place: seen.get(place.key, Tally()).failed(bears, now) for place, bears in tolerances.items()})


def _held_key(places: Places, place: Place) -> str:
    # What locks a name or a network is not believed for a pair that may be familiar.
    return f"{places.pair.key} {place.key}" if places.pair is not None else place.key


def _tell(registry: Registry, places: Places, typed: str, found: dict[Place, Tally]) -> None:
    now = registry.clock.now()
    for place in (places.pair, places.name):
        if place is not None and found[place].locked_until > now:
            tally = found[place]
            registry.lockouts.tell(Lock(typed, places.network.network, tally.locked_until, tally.failures))


def _refused(registry: Registry, places: Places, until: int) -> TooMany:
    now = registry.clock.now()
    registry.lockouts.count("lockout")
    if places.pair is not None:
        registry.lockouts.count_refusal(places.pair.key, now)
    seconds = -(-(until - now) // SECOND)
    return TooMany(LOCKED.format(seconds=seconds), retry_after=seconds)


async def _take_back(registry: Registry, places: Places, *, is_right: bool) -> None:
    now = registry.clock.now()
    tolerances = places.tolerances(registry.rules.lockout_failures, registry.rules.lockout_seconds)

    async def record(tx: Tx) -> None:
        seen = await attempts.list_tallies(tx, [place.key for place in tolerances])
        own = seen.get(places.pair.key, Tally()).failures if places.pair is not None and is_right else 1
        after = {
            place: seen[place.key].less(own, tolerance) for place, tolerance in tolerances.items() if place.key in seen
        }
        await attempts.put_tallies(tx, after)
        if is_right and places.pair is not None:
            await _note_familiar(tx, places.pair, now)

    # Whoever was right is let in even where that cannot be written down.
    with suppress(Unavailable):
        await registry.database.transact(record, durable=False)


async def _is_familiar(tx: Tx, pair: Place, now: int) -> bool:
    return await attempts.find_familiar(tx, pair.key) > now - FAMILIAR_DAYS * DAY


async def _note_familiar(tx: Tx, pair: Place, now: int) -> None:
    if await attempts.find_familiar(tx, pair.key) <= now - DAY:
        await attempts.put_familiar(tx, pair, now)


def name_key(registry: Registry, typed: str) -> str:
    """The hash under which a name is counted."""
    return _key(registry, f"name {_folded(typed)}")


def _folded(typed: str) -> str:
    # A directory takes Ann, ann and full-width ann for the same: so many more tries nobody is to have.
    return " ".join(unicodedata.normalize("NFKC", typed[:MOST_TYPED]).casefold().split())


def _key(registry: Registry, text: str) -> str:
    # What people type as a name may be their password: only who has the key of the registry could try what it was.
    return hmac.digest(registry.policy.token_key, b"attempt " + text.encode(errors="replace"), "sha256")[:16].hex()

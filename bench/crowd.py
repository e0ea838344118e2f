"""Many clients of one server that all do the same, each over its own connection."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

from bench.client import Engine, Lane, Operation, Tally, at, clock, repeat
from bench.images import Caller, Steps, bearer_in, caller_of
from bench.load import Outcome, drive
from bench.servers import Distribution, Registry, Target

Prepare = Callable[[Caller], Operation]
TOKEN_CLIENTS = 8


@dataclasses.dataclass(frozen=True)
class Crowd:
    """So many clients; `close` gives each request a connection of its own."""

    target: Target
    authorization: str = ""
    clients: int = 32
    close: bool = False

    def lanes(
        self, prepare: Prepare, start: Callable[[], Callable[[], bool]]
    ) -> Callable[[Engine, Tally], Iterator[Lane]]:
        """What each client runs; `start` is called in the client's process and says whether there is more to do."""

        def build(engine: Engine, tally: Tally) -> Iterator[Lane]:
            more = start()
            for _ in range(self.clients):
                caller = caller_of(engine, self.target, self.authorization, close=self.close)
                yield repeat(tally, caller.connection, prepare(caller), more)

        return build

    def lanes_for(self, seconds: float, prepare: Prepare) -> Callable[[Engine, Tally], Iterator[Lane]]:
        """Clients that go on for so long."""

        def start() -> Callable[[], bool]:
            until = clock() + seconds
            return lambda: clock() < until

        return self.lanes(prepare, start)

    def for_seconds(self, seconds: float, prepare: Prepare) -> Outcome:
        """As often as they can in this time."""
        return drive(self.lanes_for(seconds, prepare))

    def in_all(self, count: int, prepare: Prepare) -> Outcome:
        """So many operations, shared by all."""
        left = iter(range(count))
        return drive(self.lanes(prepare, lambda: lambda: next(left, None) is not None))

    def arriving(self, moments: Iterable[float], prepare: Prepare) -> Callable[[Engine, Tally], Iterator[Lane]]:
        """Clients that come once each, at these seconds from the start, whatever became of the others."""

        def build(engine: Engine, tally: Tally) -> Iterator[Lane]:
            start = clock() + 0.05
            for moment in moments:
                caller = caller_of(engine, self.target, self.authorization, close=self.close)
                yield at(tally, caller.connection, prepare(caller), start + moment)

        return build


def evenly(count: int, seconds: float) -> list[float]:
    """So many moments, spread evenly over this time."""
    return [seconds * number / count for number in range(count)]


def requesting(method: str, path: str, status: int = 200, fields: str = "") -> Prepare:
    """The same request again and again."""

    def prepare(caller: Caller) -> Operation:
        request = caller.head(method, path, fields)

        def ask() -> Steps[None]:
            yield from caller.call(request, status)

        return ask

    return prepare


def taking_turns(requests: Callable[[Caller], list[bytes]], status: int) -> Prepare:
    """The requests of a list one after the other, each client beginning at a different one."""
    starts = itertools.count()

    def prepare(caller: Caller) -> Operation:
        prepared = requests(caller)
        begin = next(starts) * 7 % len(prepared)
        turn = itertools.cycle([*prepared[begin:], *prepared[:begin]])

        def ask() -> Steps[None]:
            yield from caller.call(next(turn), status)

        return ask

    return prepare


def tokens(registry: Registry, scope: str, count: int) -> list[str]:
    """Authorization values that this registry has never seen, all different."""
    if isinstance(registry, Distribution):
        return [registry.bearer(scope) for _ in range(count)]
    service = registry.token_service(scope)
    found: list[str] = []

    def prepare(caller: Caller) -> Operation:
        request = caller.head("GET", service.path)

        def fetch() -> Steps[None]:
            found.append(bearer_in((yield from caller.call(request, 200, keep=True))))

        return fetch

    engine, tally = Engine(), Tally()
    crowd = Crowd(registry, service.authorization, TOKEN_CLIENTS)
    engine.run(crowd.lanes(prepare, lambda: lambda: len(found) < count)(engine, tally))
    if tally.errors:
        raise RuntimeError(f"{registry.name}: /token: {tally.message}")
    return found[:count]

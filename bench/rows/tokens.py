"""The token service: its rate, and what a flood of wrong passwords does to the others."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from bench.client import Operation, WrongAnswer
from bench.context import Bench
from bench.crowd import Crowd, evenly, requesting
from bench.images import Caller, Steps
from bench.load import Running
from bench.measure import Line, Sample, measure, median
from bench.rows import Row
from bench.servers import Entrepot, basic

TOKENS_A_CORE = 3000
WRONG_A_SECOND = 200
WORSE = 2.0
REFUSALS = (401, 429)


def rate(bench: Bench) -> Iterator[Line]:
    """Tokens a second of server CPU: one secret, asked for again and again."""
    registry = bench.entrepot
    service = registry.token_service("repository:bench/small:pull")
    crowd = Crowd(registry, service.authorization)
    samples = [
        bench.measure(registry, lambda: crowd.for_seconds(bench.seconds, requesting("GET", service.path)))
        for _ in range(bench.rounds)
    ]
    a_core = 1000 / median(samples, "cpu_per_1000")
    line = Line("token", "tokens a second of CPU", ">= 3,000/s a core", ours=samples, value=a_core)
    line.note = f"{median(samples, 'rate'):.0f}/s seen by the clients"
    yield line.require(f"{a_core:.0f} of {TOKENS_A_CORE}", holds=a_core >= TOKENS_A_CORE)


def wrong_passwords(bench: Bench) -> Iterator[Line]:
    """The p99 of manifests while 200 wrong passwords a second arrive, beside the p99 without them."""
    registry = bench.entrepot
    image = bench.small_image(registry)
    path = f"/v2/{image.repository}/manifests/single"
    calm: list[Sample] = []
    beside: list[Sample] = []
    for _ in range(bench.rounds):
        calm.append(bench.measure(registry, lambda: bench.wrk(registry, path)))
        guesses = flood(bench)
        time.sleep(0.3)
        beside.append(measure(registry, lambda: bench.wrk(registry, path)))
        refused = guesses.outcome()
        if refused.errors:
            raise RuntimeError(f"wrong passwords: {refused.errors} wrong answers: {refused.message}")
    line = Line("token", "manifest GET beside 200 wrong passwords/s", "p99 <= 2x", ours=beside, theirs=calm)
    line.against = "without"
    times = median(beside, "p99") / median(calm, "p99")
    yield line.require(f"p99 {times:.2f}x of {WORSE:g}x", holds=times <= WORSE)


def flood(bench: Bench) -> Running:
    """Wrong passwords, each another one."""
    wrong = (basic("admin", f"wrong-{number}") for number in itertools.count())
    return logins(bench, bench.entrepot, (WRONG_A_SECOND, wrong), REFUSALS)


def logins(bench: Bench, registry: Entrepot, arriving: tuple[int, Iterator[str]], statuses: tuple[int, ...]) -> Running:
    """So many logins a second, each with a connection of its own, that are answered by one of `statuses`."""
    a_second, credentials = arriving
    service = registry.token_service("repository:bench/small:pull")
    seconds = max(1.0, bench.seconds) + 0.8

    def prepare(caller: Caller) -> Operation:
        person = Caller(caller.connection, next(credentials), close=True)

        def log_in() -> Steps[None]:
            yield from person.connection.send(person.head("GET", service.path))
            reply = yield from person.connection.receive(keep=False, is_head=False)
            if reply.status not in statuses:
                raise WrongAnswer(f"a login got {reply.status}")

        return log_in

    return Running(Crowd(registry).arriving(evenly(round(a_second * seconds), seconds), prepare))


def row(bench: Bench) -> Iterator[Line]:
    """Both."""
    yield from rate(bench)
    yield from wrong_passwords(bench)


ROWS = (Row("token", "/token, and wrong passwords beside", row),)

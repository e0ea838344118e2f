"""A directory that hangs: what pulls feel of it while people try to log in with passwords that only it knows."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator

from bench.context import Bench
from bench.measure import Line, Sample, measure, median
from bench.rows import Row
from bench.rows.tokens import logins
from bench.servers import basic

LOGINS_A_SECOND = 20
WORSE = 1.2
AWAY = (401, 429, 503)


def row(bench: Bench) -> Iterator[Line]:
    """The p99 of manifests beside logins that wait for a directory which takes connections and says nothing."""
    with silent() as port, bench.fresh("directory", **settings(port)) as registry:
        image = bench.small_image(registry)
        path = f"/v2/{image.repository}/manifests/single"
        calm: list[Sample] = []
        beside: list[Sample] = []
        for _ in range(bench.rounds):
            calm.append(bench.measure(registry, lambda: bench.wrk(registry, path)))
            people = logins(bench, registry, (LOGINS_A_SECOND, strangers()), AWAY)
            time.sleep(0.3)
            beside.append(measure(registry, lambda: bench.wrk(registry, path)))
            refused = people.outcome()
            if refused.errors:
                raise RuntimeError(f"logins: {refused.errors} wrong answers: {refused.message}")
    line = Line("directory", "manifest GET while the directory hangs", "p99 <= 1.2x", ours=beside, theirs=calm)
    line.against = "without logins"
    line.note = f"slowest login {refused.slowest:.1f} s"
    times = median(beside, "p99") / median(calm, "p99")
    yield line.require(f"p99 {times:.2f}x of {WORSE:g}x", holds=times <= WORSE)


def strangers() -> Iterator[str]:
    """People of the directory, each with a name of their own."""
    return (basic(f"person{number}", "a password") for number in itertools.count())


def settings(port: int) -> dict[str, str]:
    """A directory at this port."""
    return {"ENTREPOT_LDAP__URLS": f"ldap://127.0.0.1:{port}", "ENTREPOT_LDAP__BASE": "dc=example,dc=org"}


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        yield listener.getsockname()[1]


ROWS = (Row("directory", "manifest GETs while the directory hangs", row),)

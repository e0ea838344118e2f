"""What an outsider could read off a clock: what is not theirs beside what is not there, and names beside non-names."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence

from bench.context import KIB, Bench
from bench.images import Stock, put_image
from bench.measure import Line
from bench.rows import Row
from bench.servers import Entrepot, basic

# Medians of the same request differ by this much between two halves of a run.
APART = 0.05
PASSWORDS_APART = 0.10
OUTSIDER = "outsider"
OPEN, HIDDEN = "open", "hidden"
PASSWORD = "an outsider's password"


def repositories(bench: Bench) -> Iterator[Line]:
    """Times of a manifest that an outsider may not read, in a repository that is there, and in two that are not.

    Then the same within a namespace where everybody reads what is not hidden.
    """
    registry = bench.entrepot
    image = bench.small_image(registry)
    add_user(registry, OUTSIDER)
    names = (image.repository, "bench/absent", "absent/absent")
    paths = [f"/v2/{name}/manifests/single" for name in names]
    headers = {"Authorization": basic(OUTSIDER, PASSWORD)}
    times = alternately(registry, [("GET", path, headers) for path in paths], bench.sized(2000, 10_000), 404)
    yield verdict("manifest not yours, not there, no namespace", times, APART)
    hide(registry)
    paths = [f"/v2/{OPEN}/{name}/manifests/single" for name in (HIDDEN, "absent")]
    times = alternately(registry, [("GET", path, headers) for path in paths], bench.sized(2000, 10_000), 404)
    yield verdict("hidden in a public namespace, not there", times, APART)


def names(bench: Bench) -> Iterator[Line]:
    """Times of a wrong password for users who are there and for users who are not, each name once."""
    registry = bench.entrepot
    count = bench.sized(20, 60)
    for number in range(count):
        add_user(registry, f"known{number}")
    times: list[list[float]] = [[], []]
    for number in range(count):
        for kind, name in enumerate(("known", "ghost")):
            headers = {"Authorization": basic(f"{name}{number}", f"wrong {number}")}
            times[kind] += alternately(registry, [("GET", "/token", headers)], 1, 401)[0]
    yield verdict("wrong password of a user, of nobody", times, PASSWORDS_APART)


def hide(registry: Entrepot) -> None:
    """A private repository in a public namespace."""
    ask(registry, "POST", "/api/v1/namespaces", {"name": OPEN, "visibility": "public"})
    put_image(registry, f"{OPEN}/{HIDDEN}", [Stock(KIB).take()])
    ask(registry, "PATCH", f"/api/v1/repositories/{OPEN}/{HIDDEN}", {"visibility": "private"})
    # What takes something away holds in the other worker within a second.
    time.sleep(2)


def ask(registry: Entrepot, method: str, path: str, document: object) -> None:
    """Something to be made that may be there already."""
    status, body = registry.request(method, path, document)
    if status not in {200, 201, 204, 409}:
        raise RuntimeError(f"{method} {path}: {status} {body[:200]!r}")


def add_user(registry: Entrepot, name: str) -> None:
    """A user without any role."""
    ask(registry, "POST", "/api/v1/users", {"name": name, "password": PASSWORD})


def alternately(
    registry: Entrepot, requests: Sequence[tuple[str, str, dict[str, str]]], count: int, status: int
) -> list[list[float]]:
    """Seconds of each request, one after the other over one connection, in an order that turns."""
    times: list[list[float]] = [[] for _ in requests]
    order = list(range(len(requests)))
    turns = itertools.cycle(itertools.permutations(order))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", registry.port, timeout=60)) as connection:
        connection.connect()
        for _ in range(count):
            for kind in next(turns):
                method, path, headers = requests[kind]
                began = time.perf_counter()
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                times[kind].append(time.perf_counter() - began)
                if answer.status != status:
                    raise RuntimeError(f"{path} answered {answer.status}, not {status}")
    return times


def verdict(what: str, times: Sequence[Sequence[float]], apart: float) -> Line:
    """How far the medians lie apart, as a share of the smallest."""
    medians = [statistics.median(each) for each in times]
    share = max(medians) / min(medians) - 1
    line = Line("hidden", what, f"<= {100 * apart:.0f} % apart", " %", value=100 * share)
    line.note = "medians of " + ", ".join(f"{1_000_000 * each:.0f}" for each in medians) + " us"
    return line.require(f"{100 * share:.1f} of {100 * apart:.0f} %", holds=share <= apart)


def row(bench: Bench) -> Iterator[Line]:
    """Both."""
    yield from repositories(bench)
    yield from names(bench)


ROWS = (Row("hidden", "times of not yours and not there; of wrong passwords of users and of nobody", row),)

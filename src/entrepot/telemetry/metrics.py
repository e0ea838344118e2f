"""Prometheus metrics: plain numbers of this process, published for the others, summed at the time of a scrape.

A request costs a few additions. The client library's own values for several processes write through to a mapped file
each time, which took a tenth of the time of a small pull.
"""

from __future__ import annotations

import os
import pathlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
EDGES: Final = (*(str(float(bucket)) for bucket in BUCKETS), "+Inf")
LABELS: Final = ("route", "method", "status")

# Which of the numbers below is which counter, and what its keys are made of, a word for each label.
COUNTERS: Final = (
    ("refused", "entrepot_http_refused", "Requests refused before any route was looked for", ["status"]),
    ("turned_away", "entrepot_connections_refused", "Connections that never came to a request", ["listener", "reason"]),
    ("exchanged", "entrepot_federation", "Tokens of issuers elsewhere, by what came of them", ["issuer", "result"]),
    ("sign_ins", "entrepot_sign_ins", "Browsers that somebody signed in with, by way and result", ["way", "result"]),
    ("limited", "entrepot_limited", "Requests refused by a lock, a rate or a plan", ["kind"]),
    (
        "redirects",
        "entrepot_redirects",
        "Pulls of blobs where clients may be sent to the store: redirected, or why not",
        ["result"],
    ),
    ("audited", "entrepot_audit", "What went into the audit log, or was lost", ["category"]),
    ("logins", "entrepot_directory_logins", "Passwords that the directory was asked about", ["result"]),
    (
        "remembered",
        "entrepot_remembered",
        "Reads of pulls without the database, stale ones while it is away",
        ["kind"],
    ),
)

Gauges = dict[str, tuple[str, dict[str, float]]]


class RequestCount(msgspec.Struct):
    """What one process has answered on one route with one method and status; times in seconds, sizes in bytes."""

    route: str
    method: str
    status: int
    buckets: list[int]
    seconds: float = 0.0
    sent: int = 0
    received: int = 0


class Numbers(msgspec.Struct):
    """Everything that one process counts.

    `waiting` is how many callers are in each of its queues; `refused`, by status, are requests that the HTTP server
    answered by itself; `logins`, by result, are passwords that the directory was asked about, `away` the servers of it
    that this process holds to be away; `exchanged`, by "issuer result", are tokens of others that were shown; by
    category, `audited` is what went into the audit log, `lost` what did not;
    `sign_ins`, by "way result", are browsers that somebody signed in with.
    `turned_away`, by "listener reason", are connections that never came to a request.
    `limited`, by kind, are requests refused by a lock or a rate. `remembered`, by kind, are reads of pulls that did
    without the database, and `database_away` says whether this process holds it to be away.
    `redirects`, by result, are pulls of blobs where clients may be sent to the store.
    """

    process: int
    requests: list[RequestCount]
    waiting: dict[str, int]
    refused: dict[str, int] = {}
    connections: int = 0
    logins: dict[str, int] = {}
    away: dict[str, int] = {}
    exchanged: dict[str, int] = {}
    sign_ins: dict[str, int] = {}
    turned_away: dict[str, int] = {}
    limited: dict[str, int] = {}
    audited: dict[str, int] = {}
    remembered: dict[str, int] = {}
    database_away: int = 0
    redirects: dict[str, int] = {}


class Meter:
    """Counts for this process; with a folder, publishes for the others and reads what they have published."""

    def __init__(self, folder: pathlib.Path | None = None) -> None:
        self._folder = folder
        self._requests: dict[tuple[str, str, int], RequestCount] = {}
        self.waiting: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.turned_away: dict[str, int] = {}
        self.logins: dict[str, int] = {}
        self.away: dict[str, int] = {}
        self.connections: Callable[[], int] = int
        self.exchanged: dict[tuple[str, str], int] = {}
        self.sign_ins: dict[tuple[str, str], int] = {}
        self.limited: dict[str, int] = {}
        self.audited: dict[str, int] = {}
        self.remembered: dict[str, int] = {}
        self.database_away = 0
        self.redirects: dict[str, int] = {}

    def add(self, key: tuple[str, str, int], seconds: float, sent: int, received: int) -> None:
        """One answered request: `key` is (route, method, status)."""
        count = self._requests.get(key)
        if count is None:
            count = self._requests[key] = RequestCount(*key, buckets=[0] * len(EDGES))
        count.buckets[bisect_left(BUCKETS, seconds)] += 1
        count.seconds += seconds
        count.sent += sent
        count.received += received

    def publish(self) -> None:
        """Let the other processes' scrapes see this one's numbers."""
        if self._folder is not None:
            fresh = self._folder / f"{os.getpid()}.new"
            fresh.write_bytes(msgspec.json.encode(self._numbers()))
            fresh.replace(self._folder / f"{os.getpid()}.json")

    def render(self, gauges: Gauges) -> bytes:
        """All processes' numbers and `gauges` {name: (help, {kind: number})} in Prometheus's text format."""
        everybody = [*self._others(), self._numbers()]
        registry = CollectorRegistry()
        registry.register(_Families(everybody, gauges))
        return generate_latest(registry)

    def _numbers(self) -> Numbers:
        requests = list(self._requests.values())
        exchanged = {" ".join(key): number for key, number in self.exchanged.items()}
        seen = (self.waiting, self.refused, self.connections(), self.logins, self.away, exchanged)
        signed = {" ".join(key): number for key, number in self.sign_ins.items()}
        return Numbers(
            os.getpid(),
            requests,
            *seen,
            sign_ins=signed,
            turned_away=self.turned_away,
            limited=self.limited,
            audited=self.audited,
            remembered=self.remembered,
            database_away=self.database_away,
            redirects=self.redirects,
        )

    def _others(self) -> Iterator[Numbers]:
        if self._folder is not None:
            for file in self._folder.glob("*.json"):
                if file.stem != str(os.getpid()):
                    yield msgspec.json.decode(file.read_bytes(), type=Numbers)


class _Families(Collector):
    """The sums as metric families. What the dead have counted still counts; nobody waits for them any more."""

    def __init__(self, everybody: Iterable[Numbers], gauges: Gauges) -> None:
        self._everybody = list(everybody)
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Histograms, counters and gauges."""
        yield from self._requests()
        for field, name, text, labels in COUNTERS:
            family = CounterMetricFamily(name, text, labels=labels)
            for key, number in _sum(getattr(numbers, field) for numbers in self._everybody).items():
                family.add_metric(key.split(" ", len(labels) - 1), number)
            yield family
        living = [each for each in self._everybody if pathlib.Path(f"/proc/{each.process}").exists()]
        away = "Processes that hold a server of the directory to be away"
        yield _gauge("entrepot_directory_away", away, _sum(numbers.away for numbers in living))
        connections = sum(numbers.connections for numbers in living)
        yield GaugeMetricFamily("entrepot_connections", "Open connections of clients", value=connections)
        database = sum(numbers.database_away for numbers in living)
        yield GaugeMetricFamily("entrepot_database_away", "Processes that hold the database to be away", value=database)
        yield _gauge("entrepot_waiting", "Callers in a queue", _sum(numbers.waiting for numbers in living))
        for name, (text, values) in self._gauges.items():
            yield _gauge(name, text, values)

    def _requests(self) -> Iterator[Metric]:
        times = HistogramMetricFamily("entrepot_http_request_seconds", "Time to the end of the answer", labels=LABELS)
        sent = CounterMetricFamily("entrepot_http_sent_bytes", "Bytes of response bodies", labels=LABELS)
        received = CounterMetricFamily("entrepot_http_received_bytes", "Bytes of request bodies", labels=LABELS)
        for key, count in self._sums().items():
            labels = [str(part) for part in key]
            total, buckets = 0, []
            for edge, number in zip(EDGES, count.buckets, strict=True):
                total += number
                buckets.append((edge, float(total)))
            times.add_metric(labels, buckets, count.seconds)
            sent.add_metric(labels, count.sent)
            received.add_metric(labels, count.received)
        yield from (times, sent, received)

    def _sums(self) -> dict[tuple[str, str, int], RequestCount]:
        sums: dict[tuple[str, str, int], RequestCount] = {}
        for count in (count for numbers in self._everybody for count in numbers.requests):
            key = (count.route, count.method, count.status)
            total = sums.setdefault(key, RequestCount(*key, buckets=[0] * len(EDGES)))
            total.buckets = [one + other for one, other in zip(total.buckets, count.buckets, strict=True)]
            total.seconds += count.seconds
            total.sent += count.sent
            total.received += count.received
        return sums


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for each in counts:
        for name, number in each.items():
            total[name] = total.get(name, 0) + number
    return total


def _gauge(name: str, text: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["kind"])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family

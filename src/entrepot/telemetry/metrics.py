"""Prometheus metrics of requests, and of what the database holds at the time of a scrape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SECONDS: Final = Histogram(
    "entrepot_http_request_seconds",
    "Time to the end of the answer, by route, method and status",
    ("route", "method", "status"),
    buckets=BUCKETS,
)
SENT: Final = Counter("entrepot_http_sent_bytes", "Bytes of response bodies", ("route",))
RECEIVED: Final = Counter("entrepot_http_received_bytes", "Bytes of request bodies", ("route",))
WAITING: Final = Gauge("entrepot_waiting", "Callers in a queue", ("queue",), multiprocess_mode="livesum")


class RequestMeter:
    """Counts one process's requests; the label look-ups are kept, they cost more than the counting."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str, int], Histogram] = {}
        self._sent: dict[str, Counter] = {}
        self._received: dict[str, Counter] = {}

    def add(self, key: tuple[str, str, int], seconds: float, sent: int, received: int) -> None:
        """One answered request: `key` is (route, method, status)."""
        times = self._times.get(key)
        if times is None:
            route, method, status = key
            times = self._times[key] = SECONDS.labels(route, method, str(status))
            self._sent.setdefault(route, SENT.labels(route))
            self._received.setdefault(route, RECEIVED.labels(route))
        times.observe(seconds)
        if sent:
            self._sent[key[0]].inc(sent)
        if received:
            self._received[key[0]].inc(received)


def set_waiting(queue: str, callers: int) -> None:
    """How many wait in one of this process's queues."""
    WAITING.labels(queue).set(callers)


class _Counted(Collector):
    """Numbers counted at the time of the scrape; a Gauge would leave a file of this process behind."""

    def __init__(self, gauges: dict[str, tuple[str, dict[str, float]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """The gauges as metric families."""
        for name, (text, values) in self._gauges.items():
            family = GaugeMetricFamily(name, text, labels=["kind"])
            for kind, value in values.items():
                family.add_metric([kind], value)
            yield family


def render_metrics(gauges: dict[str, tuple[str, dict[str, float]]]) -> bytes:
    """Everything in Prometheus's text format: of all processes, and gauges {name: (help, {kind: number})}."""
    registry = CollectorRegistry()
    if os.environ.get(DIRECTORY):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library leaves it untyped
    else:
        for metric in (SECONDS, SENT, RECEIVED, WAITING):
            registry.register(metric)
    registry.register(_Counted(gauges))
    return generate_latest(registry)

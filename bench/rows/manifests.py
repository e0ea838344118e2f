"""Manifest GET and HEAD: keep-alive, a connection per request, TLS, and tokens never seen before."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from bench.client import Operation
from bench.context import Bench
from bench.crowd import Crowd, requesting, tokens
from bench.decisions import decision_microseconds
from bench.images import ACCEPT, Caller, Steps
from bench.load import Outcome
from bench.measure import Line, Sample, median
from bench.rows import Row
from bench.servers import Nginx, Registry

UNSEEN_LIMIT_MICROSECONDS = 25
JUDGED_LIMIT_MICROSECONDS = 10
MANIFEST_BYTES = 2048


def load(bench: Bench, what: str, registry: Registry, *, close: bool) -> Outcome:
    """`GET tag`, `HEAD digest` and so on, as fast as 32 clients can.

    wrk cannot do HEAD (it waits for the body that the length announces), so that is our own client's.
    """
    method, by = what.split()
    image = bench.small_image(registry)
    path = f"/v2/{image.repository}/manifests/{'single' if by == 'tag' else image.digest}"
    if method == "GET":
        return bench.wrk(registry, path, close=close)
    crowd = Crowd(registry, registry.bearer(f"repository:{image.repository}:pull"), close=close)
    return crowd.for_seconds(bench.seconds, requesting("HEAD", path, fields=f"Accept: {ACCEPT}\r\n"))


WAYS = ("GET tag", "HEAD tag", "GET digest", "HEAD digest")


def keep_alive(bench: Bench) -> Iterator[Line]:
    """32 keep-alive connections, one bearer token."""
    for what in WAYS:
        ours, theirs = bench.versus(bench.registries, functools.partial(load, bench, what, close=False))
        line = Line("manifests", what, ">= 10x, p99 no worse", ours=ours, theirs=theirs)
        yield line.at_least(10).tail_no_worse()


def new_connection(bench: Bench) -> Iterator[Line]:
    """A connection per request, as docker, podman and skopeo do."""
    for what in WAYS[:: bench.sized(3, 1)]:
        ours, theirs = bench.versus(bench.registries, functools.partial(load, bench, what, close=True))
        yield Line("manifests-new", f"{what}, connection each", ">= 8x", ours=ours, theirs=theirs).at_least(8)


def using_up(bench: Bench, registry: Registry, stock: list[str], *, close: bool) -> Outcome:
    """GET by tag, each request with the next token of the stock, until all are used."""
    image = bench.small_image(registry)

    def prepare(caller: Caller) -> Operation:
        first, last = caller.head(
            "GET", f"/v2/{image.repository}/manifests/single", f"Accept: {ACCEPT}\r\nAuthorization: \0\r\n"
        ).split(b"\0")

        def ask() -> Steps[None]:
            yield from caller.call(first + stock.pop().encode() + last, 200)

        return ask

    return Crowd(registry, close=close).in_all(len(stock), prepare)


def over_tls(bench: Bench) -> Iterator[Line]:
    """TLS 1.3, a full handshake and a fresh token for every manifest."""
    count = bench.sized(600, 2400)

    def pulls(registry: Registry) -> Outcome:
        share = count if registry is bench.tls_registries[0] else count // 3
        scope = f"repository:{bench.small_image(registry).repository}:pull"
        return using_up(bench, registry, tokens(registry, scope, share), close=True)

    def files(nginx: Nginx) -> Outcome:
        (nginx.root / "manifest").write_bytes(b"x" * MANIFEST_BYTES)
        return Crowd(nginx, close=True).in_all(count, requesting("GET", "/manifest"))

    def run(side: Registry | Nginx) -> Outcome:
        return files(side) if isinstance(side, Nginx) else pulls(side)

    sides: tuple[Registry | Nginx, ...] = (*bench.tls_registries, bench.tls_nginx)
    ours, theirs, limit = bench.versus(sides, run)
    what = "GET tag, TLS 1.3, connection and token each"
    yield Line("manifests-tls", what, ">= 4x, p99 no worse", ours=ours, theirs=theirs).at_least(4).tail_no_worse()
    yield Line(
        "manifests-tls", "the same beside a file of nginx", "the limit", ours=ours, theirs=limit, against="nginx"
    )


def unseen(bench: Bench) -> Iterator[Line]:
    """What a token costs that this process has not seen, beside one that it has."""
    count = bench.sized(4000, 12000)
    registry = bench.entrepot
    scope = f"repository:{bench.small_image(registry).repository}:pull"
    known: list[Sample] = []
    new: list[Sample] = []
    for _ in range(bench.rounds):
        for samples, stock in ((new, tokens(registry, scope, count)), (known, tokens(registry, scope, 1) * count)):
            samples.append(bench.measure(registry, functools.partial(using_up, bench, registry, stock, close=False)))
    extra = 1000 * (median(new, "cpu_per_1000") - median(known, "cpu_per_1000"))
    line = Line("unseen", "CPU of a token never seen", "<= +25 us", " us", ours=new, value=extra)
    line.note = f"{1000 * median(known, 'cpu_per_1000'):.0f} us a request with a token seen before"
    yield line.at_most(UNSEEN_LIMIT_MICROSECONDS)


def judged(bench: Bench) -> Iterator[Line]:
    """What authorisation costs: a private manifest with a token beside a public one without; and with 10,000 grants."""
    registry = bench.entrepot
    image = bench.small_image(registry)
    registry.request("POST", "/api/v1/namespaces", {"name": "open", "visibility": "public"})
    public = bench.public_image(registry)
    bearer = registry.bearer(f"repository:{image.repository}:pull")
    accept = f"Accept: {ACCEPT}\r\n"

    def asking(name: str, authorization: str) -> list[Sample]:
        crowd = Crowd(registry, authorization)
        ask = requesting("GET", f"/v2/{name}/manifests/single", fields=accept)
        return [bench.measure(registry, lambda: crowd.for_seconds(bench.seconds, ask)) for _ in range(bench.rounds)]

    open_, known = asking(public.repository, ""), asking(image.repository, bearer)
    extra = 1000 * (median(known, "cpu_per_1000") - median(open_, "cpu_per_1000"))
    line = Line("judged", "CPU of a token beside anonymous", "<= +10 us", " us", ours=known, value=extra)
    yield line.at_most(JUDGED_LIMIT_MICROSECONDS)
    value = decision_microseconds(20_000)
    yield Line("judged", "a decision among 10,000 grants", "<= 50 us", " us", value=value).at_most(50)


ROWS = (
    Row("manifests", "manifest GET and HEAD, 32 keep-alive connections", keep_alive),
    Row("manifests-new", "the same, a connection per request", new_connection),
    Row("manifests-tls", "the same over TLS 1.3, connection and token each", over_tls),
    Row("unseen", "manifest GET with a token never seen", unseen),
    Row("judged", "what authorisation costs; a decision among 10,000 grants", judged),
)

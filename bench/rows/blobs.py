"""Downloads: small blobs, large blobs, ranges."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.context import KIB, LARGE_BYTES, MIB, Bench
from bench.crowd import Crowd, requesting, taking_turns
from bench.images import Caller
from bench.load import Outcome
from bench.measure import Line
from bench.rows import Row
from bench.servers import Nginx, Registry, Target

LARGE_CLIENTS = 4
RANGE_CLIENTS = 32
OFFSETS = 64


def small(bench: Bench) -> Iterator[Line]:
    """GET of a 10 KiB blob over 32 keep-alive connections."""

    def load(registry: Registry) -> Outcome:
        image = bench.small_image(registry)
        return bench.wrk(registry, f"/v2/{image.repository}/blobs/{image.blobs[1]}")

    ours, theirs = bench.versus(bench.registries, load)
    yield Line("blob-small", "GET of 10 KiB", ">= 8x", ours=ours, theirs=theirs).at_least(8)


def where(bench: Bench, target: Target) -> tuple[str, str]:
    """The path and authorization of the 100 MiB on this server."""
    if isinstance(target, Nginx):
        return f"/{bench.large_file.name}", ""
    registry = next(side for side in bench.registries if side is target)
    image = bench.large_image(registry)
    return f"/v2/{image.repository}/blobs/{image.blobs[1]}", registry.bearer(f"repository:{image.repository}:pull")


def sides(bench: Bench) -> tuple[Target, ...]:
    """Ours, theirs, and the limit."""
    return (*bench.registries, bench.nginx)


def large(bench: Bench) -> Iterator[Line]:
    """GET of 100 MiB over 4 connections; the client drops the bytes in the kernel."""

    def load(target: Target) -> Outcome:
        path, authorization = where(bench, target)
        return Crowd(target, authorization, LARGE_CLIENTS).for_seconds(bench.seconds, requesting("GET", path))

    ours, theirs, limit = bench.versus(sides(bench), load)
    scale = LARGE_BYTES / MIB
    what = "GET of 100 MiB, 4 connections"
    unit = " MiB/s"
    yield Line("blob-large", what, ">= 1.3x", unit, ours, theirs, scale=scale).at_least(1.3)
    yield Line("blob-large", what, ">= 0.9x nginx", unit, ours, limit, "nginx", scale).at_least(0.9)


def ranges(bench: Bench) -> Iterator[Line]:
    """Ranges at random places of 100 MiB, 32 keep-alive connections."""
    for size, name, versus_theirs in ((64 * KIB, "64 KiB", 6), (8 * MIB, "8 MiB", 1)):

        def load(target: Target, size: int = size) -> Outcome:
            path, authorization = where(bench, target)
            chance = random.Random(size)
            starts = [chance.randrange(0, LARGE_BYTES - size) for _ in range(OFFSETS)]

            def requests(caller: Caller) -> list[bytes]:
                return [caller.head("GET", path, f"Range: bytes={at}-{at + size - 1}\r\n") for at in starts]

            return Crowd(target, authorization, RANGE_CLIENTS).for_seconds(bench.seconds, taking_turns(requests, 206))

        ours, theirs, limit = bench.versus(sides(bench), load)
        what = f"ranges of {name}, 32 connections"
        scale = size / MIB
        line = Line("ranges", what, f">= {versus_theirs}x", " MiB/s", ours, theirs, scale=scale)
        yield line.at_least(versus_theirs)
        yield Line("ranges", what, ">= 0.8x nginx", " MiB/s", ours, limit, "nginx", scale).at_least(0.8)


ROWS = (
    Row("blob-small", "small blob GET", small),
    Row("blob-large", "large blob GET, nginx as the limit", large),
    Row("ranges", "ranges out of a large blob, nginx as the limit", ranges),
)

"""Listings among a hundred thousand entries, and the start with a million tags."""

from __future__ import annotations

import functools
import random
import statistics
import time
from collections.abc import Callable, Iterator

from bench import generate
from bench.context import Bench
from bench.crowd import Crowd, taking_turns
from bench.generate import Amount
from bench.images import Caller
from bench.load import Outcome
from bench.measure import Line, median
from bench.rows import Row
from bench.servers import Entrepot, basic
from tests.support.server import ADMIN_PASSWORD

MANY = 100_000
ALL_TAGS = 1_000_000
FEW = Amount(tags=100, repositories=200, referrers=100, all_tags=100)
LISTERS = 4
PAGE = 100
STARTS = 64
FLAT = 1.5
START_SECONDS = 1.5
Lister = Callable[[int, random.Random], tuple[str, str, str]]


def tags(count: int, chance: random.Random) -> tuple[str, str, str]:
    """A page of tags somewhere: scope, path, and the query that names the place."""
    last = generate.tag_name(chance.randrange(count - PAGE)) if count > PAGE else ""
    return f"repository:{generate.REPOSITORY}:pull", f"/v2/{generate.REPOSITORY}/tags/list", last


def catalogue(count: int, chance: random.Random) -> tuple[str, str, str]:
    """A page of the catalogue somewhere."""
    last = generate.repository_name(chance.randrange(count - 3 * PAGE)) if count > 3 * PAGE else ""
    return "registry:catalog:*", "/v2/_catalog", last


def referrers(count: int, chance: random.Random) -> tuple[str, str, str]:
    """A page of referrers somewhere."""
    last = f"sha256:{chance.randrange(15 << 252):064x}" if count > PAGE else ""
    path = f"/v2/{generate.REPOSITORY}/referrers/{generate.SUBJECT_DIGEST}"
    return f"repository:{generate.REPOSITORY}:pull", path, last


LISTINGS: tuple[tuple[str, Lister, str], ...] = (
    ("tag list", tags, "admin"),
    ("catalogue, administrator", catalogue, "admin"),
    ("catalogue, half readable", catalogue, generate.READER),
    ("referrers", referrers, "admin"),
)


def listing(bench: Bench, lister: Lister, user: str, server: Entrepot) -> Outcome:
    """Pages of 100 from places all over the listing."""
    chance = random.Random(1)
    count = MANY if server.folder.name == "many" else PAGE
    pages = [lister(count, chance) for _ in range(STARTS)]
    server.credentials = basic(user, ADMIN_PASSWORD)
    authorization = server.bearer(pages[0][0])

    def requests(caller: Caller) -> list[bytes]:
        return [caller.head("GET", f"{path}?n={PAGE}&last={last}") for _, path, last in pages]

    crowd = Crowd(server, authorization, LISTERS)
    return crowd.for_seconds(bench.seconds / 2, taking_turns(requests, 200))


def filled(bench: Bench, name: str, amount: Amount) -> Entrepot:
    """A server with so many rows."""
    server = Entrepot(bench.folder / name)
    server.stop()
    generate.fill(server.folder, amount)
    server.start()
    return bench.keep(server)


def starts(bench: Bench, server: Entrepot, what: str) -> Line:
    """From the command to ready, on data that is there."""
    found = []
    for _ in range(bench.rounds):
        server.stop()
        server.start()
        found.append(server.start_seconds)
    line = Line("start", what, "<= 1.5 s", " s", value=statistics.median(found))
    line.note = f"{min(found):.2f} to {max(found):.2f} s"
    return line.at_most(START_SECONDS)


def scale(bench: Bench) -> Iterator[Line]:
    """Pages among many and among few, and starts."""
    few = filled(bench, "few", FEW)
    many = filled(bench, "many", Amount(MANY, MANY, MANY, ALL_TAGS))
    for what, lister, user in LISTINGS:
        ours, theirs = bench.versus((many, few), functools.partial(listing, bench, lister, user))
        line = Line("scale", f"page of {what} at {MANY:,}", "<= 1.5x of 100", " ms", against="at 100")
        line.ours, line.theirs = ours, theirs
        line.value, line.other = 1000 * median(ours, "p50"), 1000 * median(theirs, "p50")
        line.require_errorless()
        yield line.require(f"{line.ratio or 0:.2f}x of {FLAT:g}x", holds=(line.ratio or 0) <= FLAT)
    yield starts(bench, many, f"start to ready, {ALL_TAGS:,} tags")
    yield from first_start(bench)


def first_start(bench: Bench) -> Iterator[Line]:
    """From the command to ready, with nothing there."""
    found = []
    for number in range(bench.rounds):
        began = time.monotonic()
        with bench.fresh(f"empty{number}"):
            found.append(time.monotonic() - began)
    line = Line("start", "start to ready, empty", "<= 1.5 s", " s", value=statistics.median(found))
    line.note = f"{min(found):.2f} to {max(found):.2f} s"
    yield line.at_most(START_SECONDS)


ROWS = (Row("scale", "listings among 100,000 entries, start with 1,000,000 tags", scale),)

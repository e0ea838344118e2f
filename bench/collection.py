"""`python -m bench.collection`: a tag delete planned, and everything marked, with a million blobs in the database.

`--blobs 1000000` (default) takes minutes, more with `--engine postgresql`. Times are CPU seconds of
this process beside those of the clock; memory is what the measuring process holds at most. Ends with 1 where a
budget is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import msgspec

from entrepot.app import open_registry
from entrepot.core import collect
from entrepot.core.delete import delete_tag
from entrepot.core.registry import Registry
from entrepot.domain.access import Caller, Identity
from entrepot.domain.digests import digest_of
from entrepot.domain.names import RepositoryName, Tag
from entrepot.ports.database import Tx
from entrepot.settings import load
from tests.support.postgresql import Postgres

LAYERS: Final = 10
REPOSITORIES: Final = 100
ROWS_AT_ONCE: Final = 200
IMAGES_AT_ONCE: Final = 20
ONE_BY_ONE: Final = 20
# So many images have 100,000 blobs, more than a plan looks at before it says that there is more.
MANY_IMAGES: Final = 10_000
BUDGETS: Final = {
    "plan_of_1_tag_ms": 50.0,
    "plan_of_10000_images_seconds": 5.0,
    "audit_seconds": 60.0,
    "memory_peak_mib": 300.0,
}
TABLES: Final = {
    "blob": "digest, size, created_at",
    "location": "blob, ordinal, store, key, size",
    "member": "repository, digest, kind, pushed_at",
    "manifest": "digest, media_type, raw, created_at",
    "edge": "parent, child, kind",
    "tag": "repository, name, digest, generation, moved_at",
}


def rows_of(number: int, repository: int) -> dict[str, list[tuple[Any, ...]]]:
    """An image of ten blobs under a tag, as rows."""
    manifest = str(digest_of(b"manifest %d" % number))
    layers = [str(digest_of(b"layer %d %d" % (number, layer))) for layer in range(LAYERS)]
    return {
        "blob": [(layer, 1000, 1) for layer in layers],
        "location": [(layer, 0, "default", f"00/{layer[7:40]}", 1000) for layer in layers],
        "member": [(repository, layer, "blob", 1) for layer in layers] + [(repository, manifest, "manifest", 1)],
        "manifest": [(manifest, "application/vnd.oci.image.manifest.v1+json", b"{}", 1)],
        "edge": [(manifest, layer, "layer") for layer in layers],
        "tag": [(repository, f"v{number}", manifest, 1, 1)],
    }


async def insert(tx: Tx, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Many rows in few statements."""
    width = len(rows[0])
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        slots = ", ".join(
            "(" + ", ".join(f"${row * width + column + 1}" for column in range(width)) + ")" for row in range(len(part))
        )
        sql = f"insert into {table} ({TABLES[table]}) values {slots}"
        await tx.execute(sql, *[value for row in part for value in row])


async def fill(registry: Registry, blobs: int) -> None:
    """So many blobs in images of ten, a hundred repositories of one namespace."""

    async def begin(tx: Tx) -> list[int]:
        await tx.execute("insert into namespace (name, created_at) values ('bench', 1)")
        for number in range(REPOSITORIES):
            await tx.execute(
                "insert into repository (namespace, name, created_at) select id, $1, 1 from namespace where name = $2",
                *(f"bench/app{number}", "bench"),
            )
        return [row[0] for row in await tx.all("select id from repository order by id")]

    ids = await registry.database.transact(begin)
    for first in range(0, blobs // LAYERS, IMAGES_AT_ONCE):
        many: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        for number in range(first, min(first + IMAGES_AT_ONCE, blobs // LAYERS)):
            for table, rows in rows_of(number, ids[number % REPOSITORIES]).items():
                many[table] += rows

        async def write(tx: Tx, many: dict[str, list[tuple[Any, ...]]] = many) -> None:
            for table, rows in many.items():
                await insert(tx, table, rows)

        await registry.database.transact(write, durable=False)


async def measure(registry: Registry) -> dict[str, float]:
    """Tags are deleted one after the other, each time all that is due is planned for; then everything is marked."""
    account = await registry.database.read(lambda tx: tx.one("select id from account where name = 'admin'"))
    caller = Caller(Identity(account[0] if account else 0, "admin"), None)
    registry = replace(registry, rules=msgspec.structs.replace(registry.rules, history_digests=0))
    planned = []
    for number in range(ONE_BY_ONE):
        await delete(registry, caller, number)
        began = time.monotonic()
        plan = await collect.plan(registry, caller)
        planned.append(1000 * (time.monotonic() - began))
        expected = collect.Collected(number + 1, (number + 1) * LAYERS, (number + 1) * LAYERS * 1000)
        if plan.collected + plan.after_grace != expected:
            raise RuntimeError(f"planned {plan.collected} and {plan.after_grace}, not {expected}")
    memory, cpu, began = memory_mib(), time.process_time(), time.monotonic()
    found = await collect.audit(registry)
    audited = {"audit_seconds": time.monotonic() - began, "audit_cpu_seconds": time.process_time() - cpu}
    return {
        "plan_of_1_tag_ms": planned[0],
        f"plan_of_{len(planned)}_tags_ms": planned[-1],
        **audited,
        "audit_found": found,
        "plan_of_10000_images_seconds": await plan_many(registry, caller),
        "memory_before_mib": memory,
        "memory_peak_mib": memory_mib(),
    }


async def delete(registry: Registry, caller: Caller, number: int) -> None:
    """The tag of one image goes."""
    await delete_tag(registry, caller, RepositoryName(f"bench/app{number % REPOSITORIES}"), Tag(f"v{number}"))


async def plan_many(registry: Registry, caller: Caller) -> float:
    """Seconds for a plan of all images that are due, 10,000 of them where there are so many."""
    row = await registry.database.read(lambda tx: tx.one("select count(*) from tag"))
    for number in range(ONE_BY_ONE, min(MANY_IMAGES, ONE_BY_ONE + int(row[0] if row else 0))):
        await delete(registry, caller, number)
    began = time.monotonic()
    await collect.plan(registry, caller)
    return time.monotonic() - began


def memory_mib() -> float:
    """What this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run(step: str, data: pathlib.Path, url: str, blobs: int) -> int:
    """One step in this process; 1 if a budget is not kept."""
    environment = {"ENTREPOT_ADMIN_PASSWORD": "benchmark", **({"ENTREPOT_DATABASE__URL": url} if url else {})}
    async with open_registry(load(None, data, None, environment)) as registry:
        if step == "fill":
            await fill(registry, blobs)
            return 0
        found = await measure(registry)
    print(msgspec.json.format(msgspec.json.encode(found)).decode(), flush=True)
    over = [f"{name}: {found[name]:.1f} of {most:g}" for name, most in BUDGETS.items() if found[name] > most]
    print(f"NOT KEPT: {'; '.join(over)}" if over else "all budgets are kept", flush=True)
    return 1 if over else 0


def main() -> int:
    """Fill a database and measure, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blobs", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--step", choices=("fill", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        return asyncio.run(run(options.step, options.folder, options.url, options.blobs))
    with ExitStack() as stack:
        folder = options.folder or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(Postgres()).new_database() if options.engine == "postgresql" else ""
        for step in ("fill", "measure"):
            began = time.monotonic()
            words = ["--step", step, "--folder", str(folder), "--url", url, "--blobs", str(options.blobs)]
            done = subprocess.run([sys.executable, "-m", "bench.collection", *words], check=False)
            if done.returncode:
                return done.returncode
            print(f"{step}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

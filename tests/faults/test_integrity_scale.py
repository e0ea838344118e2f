"""Many blobs, of which one in a hundred is corrupted and one in a hundred deleted: every one is found, every one with a
source is healed, and of the rest every tag that it breaks is told. 2,000 blobs; with --fault-rounds 10, as in `make
heavy`, 100,000.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import resource
import shutil
import subprocess
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from entrepot.app import open_registry
from entrepot.core.registry import Registry
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.manifest import Manifest, parse_manifest
from entrepot.domain.media_types import IMAGE_MANIFEST
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import blobs, manifests, namespaces, repositories, tags
from entrepot.ports.database import Tx, Work
from entrepot.ports.store import Written
from entrepot.settings import load
from tests.support.server import ADMIN_PASSWORD, Server

PER_IMAGE = 100
HEALABLE = 0.8


def content_of(number: int) -> bytes:
    """The bytes of one blob."""
    return b"blob %d " % number * (1 + number % 50)


async def _chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def fill(registry: Registry, count: int) -> dict[Digest, str]:
    """So many blobs in images of a hundred layers each, tagged; where each lies."""
    name = RepositoryName("scale/app")

    async def begin(tx: Tx) -> int:
        await namespaces.add_namespace(tx, "scale", None, "private", 1)
        await repositories.add_repository(tx, name, 1)
        found = await repositories.find_repository_id(tx, name)
        assert found is not None
        return found

    repository = await registry.database.transact(begin)
    keys: dict[Digest, str] = {}
    for start in range(0, count, PER_IMAGE):
        contents = [content_of(number) for number in range(start, start + PER_IMAGE)]
        written = [await registry.store.write(f"{start + n:032x}", _chunk(c), "sha256") for n, c in enumerate(contents)]
        keys |= {each.digest: each.keys[0] for each in written}
        await registry.database.transact(_naming(repository, f"v{start // PER_IMAGE}", written))
    return keys


def _naming(repository: int, tag: str, written: list[Written]) -> Work[None]:
    manifest = _image(written)

    async def record(tx: Tx) -> None:
        for each in written:
            await blobs.add_blob(tx, each.digest, each.pieces, 1)
            await repositories.put_member(tx, repository, each.digest, "blob", 1)
        await manifests.add_manifest(tx, manifest, 1)
        await repositories.put_member(tx, repository, manifest.digest, "manifest", 1)
        await tags.point(tx, repository, Tag(tag), manifest.digest, 1)

    return record


def _image(written: list[Written]) -> Manifest:
    layers = [{"mediaType": "a/b", "digest": str(each.digest), "size": each.size} for each in written]
    document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": layers[0], "layers": layers}
    return parse_manifest(IMAGE_MANIFEST, msgspec.json.encode(document))


def check(data: pathlib.Path, *words: str) -> dict[str, object]:
    """`entrepot check` as a program; its report, with what it needed."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = Server(data).command("check", "--data", str(data), "--json", *words)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1500)
    assert done.stdout.startswith("{"), done
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report: dict[str, object] = json.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seen = {key: report[key] for key in ("blobs", "blobs_read", "found", "mended")}
    print(words, seen, f"{cpu:.1f} s CPU, {time.monotonic() - began:.1f} s, {after.ru_maxrss >> 10} MiB at most")
    return report


@pytest.mark.timeout(3000)
def test_all_are_found_healed_or_told(tmp_path: pathlib.Path, rounds: int) -> None:
    """One in a hundred corrupted, one in a hundred deleted: a deep check finds exactly these, a repair from a folder
    with four fifths of them heals exactly those, and each of the others is told with the tag that it breaks.
    """
    count = 2_000 if rounds == 1 else 100_000
    data, backup = tmp_path / "data", tmp_path / "backup"
    settings = load(None, data, None, {"ENTREPOT_ADMIN_PASSWORD": ADMIN_PASSWORD})

    async def build() -> dict[Digest, str]:
        async with open_registry(settings) as registry:
            return await fill(registry, count)

    keys = asyncio.run(build())
    assert len(keys) == count
    numbers = list(range(7, count, 50))
    digests = [digest_of(content_of(number)) for number in numbers]
    healable = digests[: int(len(digests) * HEALABLE)]
    for digest in healable:
        target = backup / keys[digest]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "blobs" / keys[digest], target)
    for position, digest in enumerate(digests):
        path = data / "blobs" / keys[digest]
        if position % 2:
            path.unlink()
        else:
            path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    found = check(data, "--deep", "--at-once", "8")
    assert {each["subject"] for each in found["findings"]} == set(digests)  # type: ignore[attr-defined]
    kinds = [each["kind"] for each in found["findings"]]  # type: ignore[attr-defined]
    assert (kinds.count("blob.damaged"), kinds.count("blob.missing")) == (count // 100, count // 100)
    report = check(data, "--deep", "--repair", "--source", f"file://{backup}", "--at-once", "8")
    assert {each["subject"] for each in report["repaired"]} == set(healable)  # type: ignore[attr-defined]
    assert {each["subject"]: each["tags"] for each in report["findings"]} == {  # type: ignore[attr-defined]
        str(digest): [f"scale/app:v{number // PER_IMAGE}"]
        for number, digest in zip(numbers, digests, strict=True)
        if digest not in healable
    }
    assert check(data)["found"] == len(digests) - len(healable)

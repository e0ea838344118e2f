"""A repair that is killed in its midst: nothing is worse than before, and the next one ends the work."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.faults.behind import open_rows, over, rows
from tests.faults.pusher import Content, Door, digest_of, image_of
from tests.support.server import Server

REPOSITORY = "faults/repair"
BLOBS = 30
KILLS = 3
LIMIT_SECONDS = 60
HEALED = "select 1 from event where kind = 'blob.healed'"


def check(server: Server, *words: str) -> tuple[int, dict[str, Any]]:
    """`entrepot check` to its end: exit code and report."""
    command = server.command("check", "--data", str(server.data), "--json", *words)
    environment = os.environ | server.environment
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith("{"), done
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(400)
@over("sqlite-file", "postgresql-file")
@pytest.mark.parametrize("is_served", [True, False])
def test_a_repair_that_is_killed_leaves_nothing_worse(server: Server, tmp_path: pathlib.Path, is_served: bool) -> None:
    """Killed again and again at any moment of healing 20 blobs, beside a server and without one: no blob that was
    sound is broken, each that is in service is whole, and the last repair heals what is left.
    """
    contents = [Content(number, 200_000 + number).data for number in range(BLOBS)]
    with Door(server) as door:
        for number, data in enumerate(contents):
            assert door.push(REPOSITORY, data).status == 201
            assert door.put_manifest(REPOSITORY, f"v{number}", image_of(data, [data])).status == 201
    shutil.copytree(server.data / "blobs", tmp_path / "backup")
    if not is_served:
        server.stop()
    for number, (key,) in enumerate(rows(server, "select key from location order by blob")):
        path = server.data / "blobs" / key
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.write_bytes(path.read_bytes()[::-1])
    words = ("--deep", "--repair", "--source", f"file://{tmp_path / 'backup'}")
    healed = 0
    for _ in range(KILLS):
        kill_midway(server, healed, *words)
        now = len(rows(server, HEALED))
        assert now >= healed
        healed = now
    code, report = check(server, "--deep")
    assert (code, report["found"] <= 20 - healed) == (1 if report["found"] else 0, True)
    code, report = check(server, *words)
    assert (code, report["found"]) == (0, 0)
    code, report = check(server, "--deep")
    assert (code, report["blobs_read"], report["found"]) == (0, BLOBS, 0)
    # What the killed ones had written and not named is no damage, and goes when it is old.
    assert report["keys"]["removable"] == 0
    old = time.time() - 200_000
    for path in (server.data / "blobs").rglob("*.*"):
        os.utime(path, (old, old))
    left = report["keys"]["unreferenced"]
    code, report = check(server, "--repair")
    assert (code, report["keys"]["removed"]) == (0, left)
    if not is_served:
        server.start()
    with Door(server) as door:
        for data in contents:
            assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(data)}").body == data


def kill_midway(server: Server, healed: int, *words: str) -> None:
    """Start a repair and kill it once it has healed a few more, a random moment later."""
    command = server.command("check", "--data", str(server.data), *words)
    environment = os.environ | server.environment
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + LIMIT_SECONDS
    with open_rows(server) as ask:
        while process.poll() is None and time.monotonic() < limit:
            if len(ask(HEALED)) >= healed + 3:
                time.sleep(random.random() * 0.01)
                break
            time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()

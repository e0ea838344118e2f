"""Loss of power, which `kill -9` cannot show: the page cache survives a kill, not a cut.

The data lies on ext4 in a file behind a loop device. What was not synced is in the page cache of the mounted file
system and not in that file, so a copy of the file is what a disk would hold after a cut. While the copy is made the
server stands still (SIGSTOP), since a copy that takes a while is a state that no disk was ever in.
"""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Iterator

import pytest

from tests.faults.machine import build_shim, check, end, loop_disk, make_image, run, stopped
from tests.faults.pusher import Crowd, Ledger, finish_chunks, list_losses
from tests.support.server import Server

CLIENTS = 8
COPIES = 5
PUSHES = 40
IMAGE_BYTES = 1 << 30
LARGEST_LAYER = 16384

pytestmark = pytest.mark.root


def cut_power(tmp_path: pathlib.Path, copies: int, environment: dict[str, str]) -> Iterator[list[str]]:
    """Push with 8 clients and cut the power `copies` times at random moments; what was lost at each."""
    image, copy, folder = tmp_path / "disk.img", tmp_path / "copy.img", tmp_path / "disk"
    make_image(image, IMAGE_BYTES)
    with loop_disk(image, folder):
        server = Server(folder, environment=environment)
        server.start()
        ledger = Ledger()
        try:
            with Crowd(server, ledger, CLIENTS, largest=LARGEST_LAYER) as crowd:
                for _ in range(copies):
                    ledger.wait_for(PUSHES)
                    time.sleep(random.uniform(0, 0.5))
                    crowd.pause()
                    with stopped(server):
                        known = ledger.copy()
                        run("cp", "--sparse=always", str(image), str(copy))
                    yield _serve_copy(copy, tmp_path / "copy", known)
                    crowd.resume()
        finally:
            end(server)


def _serve_copy(copy: pathlib.Path, folder: pathlib.Path, known: Ledger) -> list[str]:
    with loop_disk(copy, folder):
        server = Server(folder)
        try:
            try:
                server.start()
            except RuntimeError as error:
                return [str(error)]
            lost = list_losses(server, known)
            # A 202 is no promise beyond a cut; but whatever a PUT now answers 201 to is whole.
            finish_chunks(server, known)
            return lost + [str(finding) for finding in check(server, deep=True).report["findings"]]
        finally:
            end(server)


def test_what_was_acknowledged_survives_loss_of_power(tmp_path: pathlib.Path, rounds: int) -> None:
    """Every push acknowledged before a cut is there whole after it, by tag and by digest, and nothing dangles."""
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        for lost in cut_power(folder, COPIES, {}):
            assert lost == []


@pytest.mark.parametrize("part", ["/blobs/", "entrepot.db"])
def test_the_cut_shows_a_missing_sync(tmp_path: pathlib.Path, part: str, rounds: int) -> None:
    """With fsync doing nothing for the blobs, or for the database, acknowledged pushes are lost: the test can fail."""
    environment = {"LD_PRELOAD": str(build_shim(tmp_path)), "FAULT_NO_SYNC": part}
    assert any(cut_power(tmp_path, rounds, environment))

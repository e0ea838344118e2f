"""`entrepot integrity` and what `entrepot check` takes, on a server and on files."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import sqlite3
import time
from collections.abc import Iterator

import pytest

from entrepot.domain.digests import digest_of
from tests.cli.caller import Caller, push
from tests.support.images import LAYER, image
from tests.support.server import ADMIN_PASSWORD, Server

LIMIT_SECONDS = 60


@pytest.fixture
def own(tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server whose bytes nobody else damages."""
    with Server(tmp_path / "own") as server:
        yield server


@pytest.fixture
def keeper(nobody: Caller, own: Server) -> Caller:
    """The administrator of that server."""
    nobody.run("login", own.url, "--username", "admin", "--password-stdin", stdin=ADMIN_PASSWORD)
    return nobody


def file_with(server: Server, content: bytes) -> pathlib.Path:
    """The file of a blob."""
    (found,) = [path for path in (server.data / "blobs").rglob("*.*") if path.read_bytes() == content]
    return found


def test_a_round_finds_damage_and_a_repair_heals_it(keeper: Caller, own: Server, tmp_path: pathlib.Path) -> None:
    """The job process of a server reads all when it is asked to, `damaged` tells what breaks, and a repair from a
    copy of the folder puts it back into service.
    """
    push(own, "library/app", image(), "v1")
    shutil.copytree(own.data / "blobs", tmp_path / "backup")
    assert keeper.run("integrity", "damaged") == ""
    path = file_with(own, LAYER)
    path.write_bytes(LAYER[::-1])
    assert keeper.run("integrity", "start") == "queued: 2 blobs to read\n"
    limit = time.monotonic() + LIMIT_SECONDS
    while keeper.ask("integrity", "status")["read_blobs"] < 2:
        assert time.monotonic() < limit, own.output()
        time.sleep(0.1)
    assert "damaged blobs: 1\n" in keeper.run("integrity", "status")
    done = keeper.call("integrity", "damaged")
    assert (done.returncode, done.stdout.rpartition(": ")[2]) == (1, "breaks library/app:v1\n")
    assert json.loads(keeper.call("integrity", "damaged", "--json").stdout)[0]["tags"] == ["library/app:v1"]
    words = ["check", "--data", str(own.data), "--source", f"file://{tmp_path / 'backup'}"]
    planned = keeper.call(*words)
    assert planned.returncode == 1
    assert f"--repair takes its bytes from file://{tmp_path / 'backup'}" in planned.stdout
    repaired = keeper.call(*words, "--deep", "--repair")
    assert (repaired.returncode, "1 repaired" in repaired.stdout) == (0, True)
    assert keeper.run("integrity", "damaged") == ""
    assert keeper.ask("integrity", "start") == {"due": 2}


def test_rows_that_lead_nowhere_are_linked_again(keeper: Caller, own: Server, tmp_path: pathlib.Path) -> None:
    """A layer that its repository does not know is shown with the tag that it breaks, and is there after the repair."""
    push(own, "library/app", image(), "v1")
    with contextlib.closing(sqlite3.connect(own.data / "entrepot.db")) as database:
        database.execute("delete from member where digest = ?", (str(digest_of(LAYER)),))
        database.commit()
    words = ["check", "--data", str(own.data)]
    planned = keeper.call(*words)
    assert planned.returncode == 1
    assert "breaks library/app:v1; --repair takes what it lacks from this store" in planned.stdout
    (tmp_path / "plan.json").write_text(keeper.call(*words, "--json").stdout)
    repaired = keeper.call(*words, "--repair", "--only", str(tmp_path / "plan.json"))
    assert repaired.returncode == 0
    assert "manifest.incomplete, what it lacked was taken from this store" in repaired.stdout
    assert keeper.call(*words).returncode == 0


def test_a_report_is_a_plan(keeper: Caller, own: Server, tmp_path: pathlib.Path) -> None:
    """What an earlier report lists may be touched, and nothing else; what cannot be healed says what it breaks."""
    push(own, "library/app", image(), "v1")
    file_with(own, LAYER).unlink()
    words = ["check", "--data", str(own.data), "--deep"]
    plan = tmp_path / "plan.json"
    plan.write_text(keeper.call(*words, "--json").stdout)
    done = keeper.call(*words, "--repair", "--only", str(plan))
    assert (done.returncode, "breaks library/app:v1" in done.stdout) == (1, True)
    assert "read every byte of 0 tags, 0 members, 0 manifests and 1 blobs" in done.stdout
    report = json.loads(plan.read_text())
    report["findings"] = []
    plan.write_text(json.dumps(report))
    assert keeper.call(*words, "--repair", "--only", str(plan)).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sample", "5"], "--sample is a share"),
        (["--sample", "0%"], "--sample is a share"),
        (["--sample", "101%"], "--sample is a share"),
        (["--older-than", "soon"], "--older-than is a time"),
        (["--at-once", "0"], "--at-once is between"),
        (["--only", "nowhere.json"], "is no report"),
        (["--source", "backup"], "is no source"),
        (["--source", "file:///nowhere/at/all"], "there is no folder"),
        (["--source", "https://user:secret@example.com"], "entrepot login"),
        (["--source", "gopher://example.com"], "no adapter"),
    ],
)
def test_mistyped_words_are_explained(nobody: Caller, server: Server, words: list[str], said: str) -> None:
    """Each is one line that says what was expected, and nothing is looked at."""
    done = nobody.call("check", "--data", str(server.data), *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_sample_and_a_check_that_goes_on(nobody: Caller, own: Server) -> None:
    """A share of the blobs is read; after a deep check nothing is left that was verified longer ago than a day."""
    push(own, "library/app", image(), "v1")
    words = ["check", "--data", str(own.data), "--json"]
    assert json.loads(nobody.run(*words, "--sample", "100%"))["blobs_read"] == 2
    assert json.loads(nobody.run(*words, "--sample", "0.1%"))["is_deep"] is False
    assert json.loads(nobody.run(*words, "--deep", "--older-than", "1d", "--at-once", "2"))["blobs_read"] == 0
    assert json.loads(nobody.run(*words, "--deep"))["blobs_read"] == 2

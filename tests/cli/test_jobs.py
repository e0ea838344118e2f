"""`entrepot jobs`, `entrepot trash` and what `serve --no-jobs` leaves to `entrepot worker`."""

from __future__ import annotations

import http.client
import pathlib
import re
import signal
import subprocess
import time

from entrepot.domain.digests import digest_of
from tests.cli.caller import Caller, push
from tests.faults.pusher import BASIC
from tests.support.images import image
from tests.support.server import Server

LIMIT_SECONDS = 60


def test_jobs_are_listed_shown_and_moved(admin: Caller, server: Server) -> None:
    """By kind and state, with their ids; one that waits is retried and cancelled, one that is not there is told."""
    del server
    (job,) = admin.ask("jobs", "list", "--kind", "credential.forget", "--state", "pending")
    assert "credential.forget" in admin.run("jobs", "list", "--kind", "credential.forget")
    number = str(job["id"])
    assert "kind: credential.forget" in admin.run("jobs", "show", number)
    assert admin.ask("jobs", "show", number)["id"] == job["id"]
    assert admin.run("jobs", "cancel", number) == f"job {number} cancelled\n"
    (again,) = admin.ask("jobs", "list", "--kind", "credential.forget")
    assert again["id"] != job["id"]
    assert admin.ask("jobs", "retry", str(again["id"])) == {"retried": again["id"]}
    assert "no such job" in admin.fail("jobs", "show", number)


def test_jobs_are_scheduled(admin: Caller, server: Server) -> None:
    """Listed, said by an expression and in seconds, paused, resumed and taken back; each with its next run."""
    del server
    listed = {each["kind"]: each for each in admin.ask("jobs", "schedule")}
    assert listed["mail.forget"]["every_seconds"] == 3600
    assert "only when asked" in admin.run("jobs", "schedule")
    told = admin.run("jobs", "schedule", "mail.forget", "0 3 * * sun", "--timezone", "Europe/Zurich")
    assert re.search(r"mail.forget +0 3 \* \* sun Europe/Zurich +\S+T03:00:00\+0[12]:00 +\S+Z\n", told)
    assert re.search(r"paused \(0 3 .*\) +- ", admin.run("jobs", "schedule", "mail.forget", "--pause"))
    assert admin.ask("jobs", "schedule", "mail.forget", "--resume", "--every", "12h")["every_seconds"] == 43_200
    assert admin.ask("jobs", "schedule", "mail.forget") == admin.ask(
        "jobs", "schedule", "mail.forget", "--every", "720m"
    )
    assert re.search(r"every 3600 s +\S+ +default\n", admin.run("jobs", "schedule", "mail.forget", "--default"))


def test_jobs_are_counted(admin: Caller, server: Server) -> None:
    """A line for each state, zero as well; as JSON what the API answers."""
    del server
    assert re.fullmatch(r"pending: [1-9]\d*\nrunning: \d+\ndead: 0\n", admin.run("jobs", "counts"))
    assert admin.ask("jobs", "counts")["dead"] == 0


def test_what_a_collection_would_do(admin: Caller, server: Server) -> None:
    """What goes now and what besides after the grace window; what excludes each other is told, and does nothing."""
    del server
    lines = admin.run("collect", "--plan").splitlines()
    assert lines == [
        "0 manifests and 0 blobs, 0 bytes, would go now",
        "0 manifests and 0 blobs, 0 bytes, besides once the grace window is over",
    ]
    assert admin.ask("collect", "--plan")["after_grace"]["manifests"] == 0
    assert "not running" in admin.run("collect", "--status")
    for words in (("--plan", "--audit"), ("--plan", "--status"), ("--status", "--audit")):
        assert "exclude each other" in admin.fail("collect", *words)
    assert "queued" in admin.run("collect", "--audit")


def test_what_cannot_be_scheduled(admin: Caller, server: Server) -> None:
    """Each mistake is told in one line, those of the server as it says them."""
    del server
    assert "of which kind?" in admin.fail("jobs", "schedule", "--pause")
    assert "of which kind?" in admin.fail("jobs", "schedule", "--default")
    assert "either --pause or --resume" in admin.fail("jobs", "schedule", "mail.forget", "--pause", "--resume")
    assert "--default goes alone" in admin.fail("jobs", "schedule", "mail.forget", "--default", "--every", "300")
    assert "such as 15m, not soon" in admin.fail("jobs", "schedule", "mail.forget", "--every", "soon")
    assert "at most 60 seconds" in admin.fail("jobs", "schedule", "audit.seal", "--every", "5m")
    assert "no jobs of this kind come back" in admin.fail("jobs", "schedule", "mail.send", "0 3 * * *")


def delete(server: Server, path: str) -> None:
    """Delete as a container client does."""
    connection = http.client.HTTPConnection(server.host)
    connection.request("DELETE", path, headers={"Authorization": BASIC})
    assert connection.getresponse().status == 202
    connection.close()


def test_what_was_deleted_is_brought_back(admin: Caller, server: Server) -> None:
    """A deleted image is listed and restored with its tag; what names no digest is told how to write it."""
    pushed = image((b"deleted by mistake",))
    push(server, "trash/app", pushed, "v1")
    layer = digest_of(b"deleted by mistake")
    delete(server, f"/v2/trash/app/manifests/{pushed.digest}")
    delete(server, f"/v2/trash/app/blobs/{layer}")
    (found,) = [each for each in admin.ask("trash", "list", "trash/app") if each["kind"] == "manifest"]
    assert (found["digest"], found["tags"]) == (pushed.digest, ["v1"])
    assert pushed.digest in admin.run("trash", "list", "trash/app")
    told = admin.run("trash", "restore", f"trash/app@{pushed.digest}")
    assert told == f"manifest trash/app@{pushed.digest} is back with the tags v1\nwith it: trash/app@{layer}\n"
    assert admin.ask("tag", "list", "trash/app")[0]["digest"] == pushed.digest
    assert "sha256" in admin.fail("trash", "restore", "trash/app:v1")
    assert "no such digest" in admin.fail("trash", "restore", f"trash/app@{pushed.digest}")


def test_jobs_run_apart(tmp_path: pathlib.Path) -> None:
    """`serve --no-jobs` does none; an `entrepot worker` beside it does them, and ends when it is told to."""
    data = tmp_path / "data"
    with Server(data, arguments=("--no-jobs",)) as server:
        caller = Caller(tmp_path)
        assert caller.ask("jobs", "list", "--data", str(data)) == []
        worker = subprocess.Popen(server.command("worker", "--data", str(data)), stderr=subprocess.DEVNULL)
        try:
            limit = time.monotonic() + LIMIT_SECONDS
            while not any(job["kind"] == "audit.seal" for job in caller.ask("jobs", "list", "--data", str(data))):
                assert time.monotonic() < limit
                time.sleep(0.2)
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LIMIT_SECONDS) == 0

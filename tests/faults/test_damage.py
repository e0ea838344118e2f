"""Stored bytes that went bad: found and named by a deep check, served to nobody, healed by the next push."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Callable

import pytest

from tests.faults.behind import Bytes, is_postgresql, key_of, open_rows, over
from tests.faults.machine import Checked, check
from tests.faults.pusher import Content, Door, digest_of, image_of
from tests.support.server import Server

REPOSITORY = "faults/damage"
DATA = Content(6, 1 << 20).data
DIGEST = digest_of(DATA)


def push_image(server: Server) -> None:
    """An image of one layer."""
    with Door(server) as door:
        assert door.push(REPOSITORY, DATA).status == 201
        assert door.put_manifest(REPOSITORY, "v1", image_of(DATA, [DATA])).status == 201


def the_finding(done: Checked) -> dict[str, object]:
    """The only thing that was found."""
    assert done.code == 1
    (finding,) = done.report["findings"]
    return dict(finding)


@over("sqlite-file", "postgresql-s3")
def test_a_flipped_bit_is_found_named_quarantined_and_healed(server: Server) -> None:
    """A deep check beside the running server names the blob and its repository; pulls get a clear 404 from then on,
    a manifest cannot build on it, and the same bytes pushed again are served and found sound.
    """
    push_image(server)
    Bytes(server).flip(key_of(server, DIGEST))
    assert check(server).code == 0
    finding = the_finding(check(server, deep=True))
    assert (finding["kind"], finding["subject"], finding["quarantined"]) == ("blob.damaged", DIGEST, True)
    assert finding["repositories"] == [REPOSITORY]
    with Door(server) as door:
        answer = door.ask("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}")
        assert (answer.status, answer.error["code"]) == (404, "BLOB_UNKNOWN")
        assert "damaged" in str(answer.error["message"])
        assert "push" in str(answer.error["message"])
        assert door.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{DIGEST}").status == 404
        mount = door.ask("POST", f"/v2/faults/other/blobs/uploads/?mount={DIGEST}&from={REPOSITORY}")
        assert mount.status == 202
        assert door.put_manifest(REPOSITORY, "v2", image_of(DATA, [DATA, DATA])).status == 400
        assert the_finding(check(server))["kind"] == "blob.damaged"
        assert door.push_chunked(REPOSITORY, DATA).status == 201
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}").body == DATA
        assert door.put_manifest(REPOSITORY, "v2", image_of(DATA, [DATA, DATA])).status == 201
    assert check(server, deep=True).code == 0


@over("sqlite-file", "postgresql-s3")
@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        ("blob.missing", lambda store, key: store.delete(key)),
        ("blob.short", lambda store, key: store.write(key, DATA[:-1])),
        ("blob.short", lambda store, key: store.write(key, b"")),
    ],
)
def test_missing_and_short_files_are_found_by_a_shallow_check(
    server: Server, kind: str, harm: Callable[[Bytes, str], object]
) -> None:
    """A shallow check finds a file that is gone or too short and changes nothing; a deep one quarantines, so that a
    push heals it.
    """
    push_image(server)
    with Door(server) as door:
        # A bucket that holds nothing at all would be taken for the wrong one.
        assert door.push(REPOSITORY, DATA[1:]).status == 201
    harm(Bytes(server), key_of(server, DIGEST))
    finding = the_finding(check(server))
    assert (finding["kind"], finding.get("quarantined", False)) == (kind, False)
    assert the_finding(check(server, deep=True))["quarantined"] is True
    with Door(server) as door:
        assert "damaged" in str(door.ask("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}").error["message"])
        assert door.push(REPOSITORY, DATA).status == 201
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}").body == DATA
    assert check(server, deep=True).code == 0


@over("sqlite-file", "postgresql-s3")
def test_bytes_that_are_back_are_served_again(server: Server) -> None:
    """A quarantined blob whose file was put back from a backup is found sound by a deep check, and served."""
    push_image(server)
    store, key = Bytes(server), key_of(server, DIGEST)
    store.flip(key)
    assert check(server, deep=True).code == 1
    store.flip(key)
    done = check(server, deep=True)
    assert (done.code, done.report["healed"]) == (0, [DIGEST])
    with Door(server) as door:
        assert door.ask("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}").body == DATA


@over("sqlite-file", "postgresql-file")
def test_names_without_content_are_found(server: Server) -> None:
    """Rows that lead nowhere are each found and named: a tag, a member, a manifest without its layer, a blob without
    a location, a manifest whose bytes or edges are not its own.
    """
    push_image(server)
    layer = Content(7, 5000).data
    with Door(server) as door:
        for tag, data in (("a", layer), ("b", layer[1:]), ("c", layer[2:])):
            assert door.push(REPOSITORY, data).status == 201
            assert door.put_manifest(REPOSITORY, tag, image_of(data, [data])).status == 201
    assert check(server, deep=True).code == 0
    longer = "raw || '\\x20'::bytea" if is_postgresql(server) else "cast(raw || ' ' as blob)"
    with open_rows(server) as ask:
        ask("insert into tag select repository, 'gone', 'tag', 'sha256:0', 1, 1 from tag where name = 'v1'")
        ask("update member set deleted_at = 1 where digest in (select digest from tag where name = 'a')")
        ask(f"delete from member where kind = 'blob' and digest = '{digest_of(layer[1:])}'")
        ask(f"delete from location where blob = '{digest_of(layer[2:])}'")
        ask(f"update manifest set raw = {longer} where digest in (select digest from tag where name = 'c')")
        ask("delete from edge where parent in (select digest from tag where name = 'v1')")
        ask("insert into member select repository, 'sha256:1', 'blob', 1, null from tag where name = 'v1'")
    kinds = {
        ("member.dangling", f"{REPOSITORY}@sha256:1"),
        ("tag.dangling", f"{REPOSITORY}:gone"),
        ("tag.dangling", f"{REPOSITORY}:a"),
        ("manifest.incomplete", f"{REPOSITORY}@{digest_of(image_of(layer[1:], [layer[1:]]))}"),
        ("blob.unlocated", digest_of(layer[2:])),
    }
    assert {(each["kind"], each["subject"]) for each in check(server).report["findings"]} == kinds
    kinds.add(("manifest.damaged", digest_of(image_of(layer[2:], [layer[2:]]))))
    kinds.add(("manifest.damaged", digest_of(image_of(DATA, [DATA]))))
    assert {(each["kind"], each["subject"]) for each in check(server, deep=True).report["findings"]} == kinds


@over("sqlite-file", "postgresql-s3")
def test_what_nothing_names_is_information(server: Server) -> None:
    """Bytes without a name are counted, those of an unfinished upload and those that wait to be deleted are not, and
    none of them is a finding.
    """
    push_image(server)
    with Door(server) as door:
        assert door.append(door.start(REPOSITORY), DATA).status == 202
        assert door.push(REPOSITORY, DATA).status == 201
    Bytes(server).write("aa/aa00.left-over", b"x")
    done = check(server)
    keys = done.report["keys"]
    assert (done.code, keys["held"], keys["uploading"], keys["unreferenced"], keys["removable"]) == (0, 4, 0, 1, 0)


def test_the_command_speaks_to_people(server: Server, tmp_path: pathlib.Path) -> None:
    """Without --json each finding is a line with what to do, progress appears on a terminal only, a sound registry
    is one line, and a folder without a database is refused rather than made.
    """
    push_image(server)
    sound = run_check(server.data)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "no findings" in sound.stdout
    Bytes(server).flip(key_of(server, DIGEST))
    bad = run_check(server.data, "--deep")
    assert (bad.returncode, bad.stderr) == (1, "")
    assert f"blob.damaged: {DIGEST}" in bad.stdout
    assert "push the same bytes again" in bad.stdout
    nowhere = run_check(tmp_path / "nowhere")
    assert (nowhere.returncode, (tmp_path / "nowhere").exists()) == (1, False)
    assert "no database" in nowhere.stderr
    assert json.loads(run_check(server.data, "--json").stdout)["found"] == 1


def run_check(data: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `entrepot check` and keep what it prints."""
    command = Server(data).command("check", "--data", str(data), *words)
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

"""The audit log by the API: who reads what, by pages, and what is verified."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.core.audit import flush_audit
from entrepot.core.audit_archive import archive
from entrepot.core.audit_seal import seal
from entrepot.domain.digests import digest_of
from tests.api.door import PRIVATE, PUBLIC, Door
from tests.support.world import basic


def settle(door: Door) -> None:
    """Let everything be written and sealed."""
    door.world.clock.advance(seconds=61)
    door.world.run(flush_audit(door.world.registry))
    door.world.run(seal(door.world.registry))


def test_records_are_listed_with_all_that_is_known(door: Door) -> None:
    """Who, what, where, from which address and by which proof; the newest first."""
    door.send("alice", "PATCH", "/namespaces/pub", {"visibility": "private"})
    settle(door)
    [record] = door.send("admin", "GET", "/audit?kind=namespace.changed")["records"]
    assert (record["actor"], record["subject"], record["address"]) == ("alice", "pub", "198.51.100.7")
    assert (record["category"], record["method"], record["allowed"], record["count"]) == ("change", "password", True, 1)
    assert record["detail"]["visibility"] == ["public", "private"]
    assert door.send("admin", "GET", f"/audit/records/{record['id']}") == record
    assert door.ask("admin", "GET", "/audit/records/99999").status == 404
    assert door.ask("admin", "GET", "/audit/records/x").status == 404


def test_sign_ins_and_refusals_are_recorded(door: Door) -> None:
    """With the name that was tried, unless it cannot be one; refusals with the reasons that the client was not told."""
    client = door.world.client()
    for name in ("alice", "my secret word"):
        client.request("GET", "/v2/", authorization=basic(name, "wrong"))
    client.request("GET", "/v2/", authorization="Basic ?")
    client.request("GET", "/v2/", authorization="Bearer x.y.z")
    client.request("POST", "/token", b"grant_type=password&username=bob&password=wrong")
    form = b"grant_type=password&username=bob&password=bob-password&service=x"
    assert client.request("POST", "/token", form).status == 200
    client.request("POST", "/token", b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
                   b"&subject_token=x&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt")  # fmt: skip
    door.ask("bob", "GET", "/v2/priv/app/tags/list")
    assert door.world.client("bob").request("GET", "/v2/priv/app/manifests/latest").status == 404
    settle(door)
    failed = door.send("admin", "GET", "/audit?category=sign-in&allowed=false")["records"]
    assert sorted((each["actor"], each["method"]) for each in failed) == [
        ("", "keyless"),
        ("", "password"),
        ("", "password"),
        ("", "registry-token"),
        ("alice", "password"),
        ("bob", "password"),
    ]
    entered = door.send("admin", "GET", "/audit?category=sign-in&allowed=true&actor=bob")["records"]
    assert [each["method"] for each in entered] == ["password"] * len(entered)
    [denied] = door.send("alice", "GET", "/audit?namespace=priv&category=denial&actor=bob")["records"]
    assert (denied["kind"], denied["subject"], denied["allowed"]) == ("pull", "priv/app:latest", False)
    assert denied["reasons"]
    assert "my secret word" not in json.dumps(door.send("admin", "GET", "/audit?n=1000"))


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("POST", "/users/alice/tokens", {"name": "x", "scopes": ["pull"]}),
        ("GET", "/users/alice", None),
        ("PUT", "/users/alice/password", {"password": "another-password"}),
        ("PUT", "/users/bob/password", {"password": "another-password", "current": "a-wrong-one"}),
        ("POST", "/users/alice/totp/disable", {"password": "bob-password"}),
        ("GET", "/sessions?user=alice", None),
        ("GET", "/audit", None),
        ("POST", "/organisations", {"name": "else", "owner": "alice"}),
    ],
)
def test_no_refusal_is_left_out(door: Door, method: str, path: str, document: Any) -> None:
    """Whatever verb refuses: it has an id, which whoever is refused reads, and a record with that id and the path."""
    answer = door.ask("bob", method, path, document)
    assert (answer.status, answer.code) == (403, "DENIED")
    [error] = answer.json["errors"]
    denial = answer["entrepot-denial"]
    assert error["detail"]["denial"] == denial
    assert error["message"].endswith(f" (entrepot why {denial})")
    settle(door)
    [record] = door.send("admin", "GET", "/audit?category=denial&actor=bob")["records"]
    assert (record["subject"], record["detail"]) == (f"/api/v1{path.partition('?')[0]}", {"denial": denial})
    assert door.send("admin", "GET", f"/denials/{denial}")["resource"] == record["subject"]


def test_giving_what_one_has_not_is_recorded(door: Door) -> None:
    """Whoever owns a namespace and gives more than that is refused under an id, and in the log."""
    wanted = {"subject": "user:alice", "role": "owner", "resource": ""}
    answer = door.ask("alice", "POST", "/grants", wanted)
    assert answer.status == 403
    settle(door)
    [record] = door.send("admin", "GET", "/audit?category=denial&actor=alice")["records"]
    assert record["detail"] == {"denial": answer["entrepot-denial"]}


def test_a_mount_that_is_refused_is_recorded(door: Door) -> None:
    """The client begins an upload instead and is told nothing; the owner of the source reads who tried it."""
    blob = digest_of(b"layer")
    target = f"/v2/bob/app/blobs/uploads/?mount={blob}&from={PRIVATE}"
    assert door.world.client("bob").request("POST", target).status == 202
    settle(door)
    [record] = door.send("alice", "GET", "/audit?namespace=priv&category=denial&actor=bob")["records"]
    assert (record["kind"], record["subject"], record["allowed"]) == ("pull", PRIVATE, False)


def test_pulls_and_tokens_are_counted(door: Door) -> None:
    """By account and repository."""
    bearer = door.world.bearer("carol", f"repository:{PUBLIC}:pull")
    for _ in range(3):
        assert bearer.request("GET", f"/v2/{PUBLIC}/manifests/latest").status == 200
    bearer.request("HEAD", f"/v2/{PUBLIC}/manifests/latest")
    settle(door)
    found = door.send("admin", "GET", "/audit?actor=carol")["records"]
    assert {each["method"] for each in found if each["category"] in {"pull", "token"}} == {"counted"}
    counted = {(each["category"], each["subject"], each["count"]) for each in found if each["category"] != "sign-in"}
    assert counted == {("pull", PUBLIC, 3), ("token", PUBLIC, 1)}


def test_records_come_by_pages(door: Door) -> None:
    """Each page has a Link to the next, across what is archived; a filter by time narrows."""
    settle(door)
    everything = door.send("admin", "GET", "/audit?category=change&n=1000")["records"]
    door.world.clock.advance(days=40)
    door.world.run(archive(door.world.registry))
    found, path = [], "/audit?category=change&n=3"
    while path:
        answer = door.ask("admin", "GET", path)
        assert answer.status == 200
        found += answer.json["records"]
        path = answer["link"].partition(">")[0].removeprefix("</api/v1") if "link" in answer else ""
    assert found == everything
    for query in ("since=2999-01-01T00:00:00Z", "until=1999-01-01T00:00:00Z", "subject=nowhere", "address=192.0.2.9"):
        assert door.send("admin", "GET", f"/audit?{query}")["records"] == []


@pytest.mark.parametrize(
    "query", ["category=other", "since=2026-11-25T00:00:00", "since=yesterday", "last=x", "last=1", "namespace=A"]
)
def test_what_cannot_be_asked_is_refused(shared: Door, query: str) -> None:
    """With what would be right."""
    assert shared.ask("admin", "GET", f"/audit?{query}").status == 400


def test_only_administrators_and_owners_may_read(shared: Door) -> None:
    """Owners only of their own namespace, administrators everything; nobody else learns what there is."""
    assert shared.ask("alice", "GET", "/audit?namespace=priv").status == 200
    for user in ("bob", "carol"):
        assert shared.ask(user, "GET", "/audit?namespace=priv").status == 403
        assert shared.ask(user, "GET", "/audit?namespace=nowhere").status == 403
    for path in ("/audit", "/audit/records/1", "/audit/root", "/audit/verification"):
        assert shared.ask("alice", "GET", path).status == 403
        assert shared.ask("", "GET", path).status == 401


def test_the_log_is_sealed_and_verified(door: Door) -> None:
    """The newest root is told, and verifying names what was touched."""
    assert door.ask("admin", "GET", "/audit/root").status == 404
    assert door.send("admin", "GET", "/audit/verification")["sealed_at"] is None
    settle(door)
    root = door.send("admin", "GET", "/audit/root")
    report = door.send("admin", "GET", f"/audit/verification?root={root['number']}&hash={root['hash']}")
    assert (report["found"], report["last_root"], report["keys"]) == (0, root["hash"], [root["fingerprint"]])
    door.world.transact(lambda tx: tx.execute("update audit set actor = 'mallory', detail = 'x' where id = 3"))
    report = door.send("admin", "GET", "/audit/verification")
    [finding] = report["findings"]
    [(place,)] = door.world.rows("select sequence from audit where id = 3")
    assert (finding["sequence"], "it was changed" in finding["problem"], report["found"]) == (place, True, 1)
    assert door.send("admin", "GET", "/audit?actor=mallory")["records"][0]["detail"] == {"unreadable": "x"}


def test_a_log_that_is_too_long_is_for_the_command_line(door: Door) -> None:
    """One request does not read millions of records."""
    settle(door)
    door.world.transact(lambda tx: tx.execute("update audit_chain set sequence = 10000000"))
    answer = door.ask("admin", "GET", "/audit/verification")
    assert (answer.status, "--data" in answer.json["errors"][0]["message"]) == (413, True)

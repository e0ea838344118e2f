"""The keys of tokens: listed, rotated and revoked by administrators."""

from __future__ import annotations

from datetime import datetime

from tests.api.door import PRIVATE, Door, tag_at


def test_keys_are_listed(door: Door) -> None:
    """With what they are for now, and nothing secret or published elsewhere."""
    answer = door.ask("admin", "GET", "/signing-keys")
    (key,) = answer.json["keys"]
    assert set(key) == {"kid", "state", "created_at", "signs_from", "revoked_at"}
    assert (key["state"], key["revoked_at"], key["created_at"]) == ("signing", None, key["signs_from"])
    assert b"PRIVATE" not in answer.body


def test_the_next_key_is_made(door: Door) -> None:
    """It waits for two hours, however often it is asked for, and tokens go on."""
    token = door.world.token("alice", f"repository:{PRIVATE}:pull")
    answer = door.ask("admin", "POST", "/signing-keys", {})
    assert (answer.status, answer.json["state"]) == (200, "waiting")
    made, begins = (datetime.fromisoformat(answer.json[name]) for name in ("created_at", "signs_from"))
    assert (begins - made).total_seconds() == 7200
    again = door.ask("admin", "POST", "/signing-keys", {"revoke": False})
    assert (again.status, again.json) == (200, answer.json)
    assert door.client(token=token).request("GET", f"/api/v1{tag_at(PRIVATE)}").status == 200
    assert door.events("key.made") == [("admin", answer.json["kid"], {"signs_from": begins.isoformat()})]


def test_every_token_is_made_void(door: Door) -> None:
    """At once, and noted; passwords are not touched."""
    before = door.version()
    (old,) = door.send("admin", "GET", "/signing-keys")["keys"]
    token = door.world.token("alice", f"repository:{PRIVATE}:pull")
    made = door.send("admin", "POST", "/signing-keys", {"revoke": True})
    assert made["state"] == "signing"
    refused = door.client(token=token).request("GET", f"/api/v1{tag_at(PRIVATE)}")
    assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
    assert "its key is void" in refused.json["errors"][0]["message"]
    token = door.world.token("alice", f"repository:{PRIVATE}:pull")
    assert door.client(token=token).request("GET", f"/api/v1{tag_at(PRIVATE)}").status == 200
    states = {key["kid"]: key["state"] for key in door.send("admin", "GET", "/signing-keys")["keys"]}
    assert states == {made["kid"]: "signing", old["kid"]: "revoked"}
    assert door.events("key.revoked") == [("admin", old["kid"], {})]
    assert door.version() == before + 1


def test_a_rotation_says_what_it_takes(door: Door) -> None:
    """Another field or another kind of value is refused by its path."""
    for document, field in (({"revoke": "yes"}, "revoke"), ({"kid": "x"}, "kid"), ({"revoke": None}, "revoke")):
        answer = door.ask("admin", "POST", "/signing-keys", document)
        assert (answer.status, answer.code) == (400, "REQUEST_INVALID")
        assert field in answer.json["errors"][0]["message"] + str(answer.json["errors"][0].get("detail"))
    assert len(door.send("admin", "GET", "/signing-keys")["keys"]) == 1

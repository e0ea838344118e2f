"""Users: made, listed, given passwords and removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from entrepot.core.accounts import PasswordChange, change_password
from entrepot.domain.errors import Conflict
from entrepot.metadata.accounts import set_password
from tests.api.door import Door
from tests.support.world import PlainHasher, basic, password_of

ERIN = {"name": "erin", "password": "erin-password"}


def test_an_administrator_makes_a_user_who_can_log_in(door: Door) -> None:
    """A new user is answered with its address and without its password, and its password works at once."""
    answer = door.ask("admin", "POST", "/users", ERIN)
    assert (answer.status, answer["location"]) == (201, "/api/v1/users/erin")
    erin = {"name": "erin", "administrator": False, "disabled": False, "source": "local"}
    assert {**erin, "locked_until": None, "gone_at": None} == {
        key: value for key, value in answer.json.items() if key != "created_at"
    }
    me = {"name": "erin", "administrator": False, "token": False, "organisations": [], "teams": []}
    assert door.send("erin", "GET", "/whoami") == me
    assert door.events("user.created")[-1] == ("admin", "erin", {"administrator": False})


def test_an_administrator_can_make_another(door: Door) -> None:
    """A user made with `administrator` may do what only administrators may."""
    door.send("admin", "POST", "/users", {**ERIN, "administrator": True})
    assert door.ask("erin", "GET", "/users").status == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"name": "alice"}, 409, "ALREADY_EXISTS"),
        ({"name": "pub"}, 409, "ALREADY_EXISTS"),
        ({"name": "v2"}, 400, "NAME_INVALID"),
        ({"name": "Erin"}, 400, "NAME_INVALID"),
        ({"name": ""}, 400, "NAME_INVALID"),
        ({"name": "e" * 64}, 400, "NAME_INVALID"),
        ({"password": "short"}, 400, "REQUEST_INVALID"),
        ({"password": "x" * 257}, 400, "REQUEST_INVALID"),
        ({"password": "eight\nchars"}, 400, "REQUEST_INVALID"),
    ],
)
def test_users_that_cannot_be(shared: Door, change: dict[str, str], status: int, code: str) -> None:
    """Taken, reserved and illegal names and bad passwords are refused, and no refusal repeats a password."""
    answer = shared.ask("admin", "POST", "/users", {**ERIN, **change})
    assert (answer.status, answer.code) == (status, code)
    assert change.get("password", "erin-password").encode() not in answer.body


def test_a_name_whose_namespace_lost_its_owner_is_free(door: Door) -> None:
    """Who left can come back under the same name, without getting the old namespace by that."""
    door.send("admin", "POST", "/users", ERIN)
    door.send("erin", "POST", "/namespaces", {"name": "erin"})
    door.send("admin", "DELETE", "/users/erin")
    door.send("admin", "POST", "/users", ERIN)
    assert door.send("admin", "GET", "/namespaces/erin")["owner"] is None
    assert door.ask("erin", "GET", "/namespaces/erin").status == 404


def test_users_come_by_pages(shared: Door) -> None:
    """A page has `n` users and links to the next one until there is none."""
    names, path = [], "/users?n=2"
    while path:
        answer = shared.ask("admin", "GET", path)
        names.append([user["name"] for user in answer.json["users"]])
        path = answer["link"].partition(">")[0].removeprefix("</api/v1") if "link" in answer else ""
    assert names == [["admin", "alice"], ["bob", "carol"], ["dora"]]


@pytest.mark.parametrize(("user", "status"), [("admin", 200), ("alice", 200), ("bob", 403), ("", 401)])
def test_who_may_look_at_a_user(shared: Door, user: str, status: int) -> None:
    """A user is shown to administrators and to that user."""
    assert shared.ask(user, "GET", "/users/alice").status == status


def test_nobody_can_tell_who_has_an_account(shared: Door) -> None:
    """Asked by others, a user who is there and one who is not get the same answer."""
    told = []
    for name in ("alice", "nobody"):
        answer = shared.ask("bob", "GET", f"/users/{name}")
        # The id of a refusal is made of what was asked for, and of nothing that is there.
        told.append((answer.status, answer.body.decode().replace(answer["entrepot-denial"], "")))
    assert told[0] == told[1]
    assert shared.ask("admin", "GET", "/users/nobody").code == "USER_UNKNOWN"


def test_a_user_changes_their_own_password(door: Door) -> None:
    """With the present password, the new one works at once, the old one and tokens made before are void."""
    token = door.world.token("bob", "repository:pub/app:pull")
    change = {"password": "another-password", "current": password_of("bob")}
    door.world.clock.advance(seconds=1)
    assert door.ask("bob", "PUT", "/users/bob/password", change).status == 204
    assert door.ask("bob", "GET", "/whoami").status == 401
    assert door.client(token=token).request("GET", "/api/v1/whoami").status == 401
    header = basic("bob", "another-password")
    assert door.ask("", "GET", "/whoami", authorization=header).status == 200
    assert door.events("user.password") == [("bob", "bob", {})]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"password": "another-password"}, 403, "current"),
        ({"password": "another-password", "current": "wrong"}, 403, "current"),
        ({"password": "short", "current": "bob-password"}, 400, "password"),
    ],
)
def test_passwords_that_stay(shared: Door, change: dict[str, str], status: int, field: str) -> None:
    """Without the present password, with a wrong one or to a bad one, nothing changes."""
    answer = shared.ask("bob", "PUT", "/users/bob/password", change)
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (status, field)
    assert shared.ask("bob", "GET", "/whoami").status == 200


def test_an_administrator_changes_any_password(door: Door) -> None:
    """Others' passwords are changed by administrators, without the present one, and by nobody else."""
    assert door.ask("alice", "PUT", "/users/bob/password", {"password": "taken-over"}).status == 403
    door.send("admin", "PUT", "/users/bob/password", {"password": "another-password"})
    assert door.ask("", "GET", "/whoami", authorization=basic("bob", "another-password")).status == 200
    assert door.ask("admin", "PUT", "/users/nobody/password", {"password": "another-password"}).code == "USER_UNKNOWN"


def test_a_token_cannot_administer(door: Door) -> None:
    """An administrator's token, which a build may hold, opens nothing that is not in its scope."""
    token = door.world.token("admin", "repository:pub/app:pull")
    for method, path in (("GET", "/users"), ("GET", "/users/alice"), ("DELETE", "/users/alice")):
        answer = door.client(token=token).request(method, f"/api/v1{path}")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert door.client(token=token).request("GET", "/api/v1/whoami").json["token"] is True


def test_a_removed_user_is_gone(door: Door) -> None:
    """Password and roles of a removed user open nothing any more, at once."""
    assert door.ask("carol", "GET", "/namespaces/priv").status == 200
    assert door.ask("admin", "DELETE", "/users/carol").status == 204
    assert door.ask("carol", "GET", "/namespaces/priv").status == 401
    assert door.send("admin", "GET", "/namespaces/priv/members")["members"] == []
    assert door.ask("admin", "DELETE", "/users/carol").code == "USER_UNKNOWN"
    assert door.events("user.removed") == [("admin", "carol", {})]


def test_the_last_administrator_stays(door: Door) -> None:
    """The only administrator cannot be removed, not even by themselves; with another one there, they can."""
    answer = door.ask("admin", "DELETE", "/users/admin")
    assert (answer.status, answer.code) == (409, "CONFLICT")
    door.send("admin", "POST", "/users", {**ERIN, "administrator": True})
    assert door.ask("admin", "DELETE", "/users/admin").status == 204


def test_of_two_changes_at_once_one_is_told(door: Door) -> None:
    """A password that was changed while another change was under way is not overwritten."""
    registry = door.world.registry

    class Racing(PlainHasher):
        async def hash(self, password: str) -> str:
            await registry.database.transact(lambda tx: set_password(tx, door.world.ids["bob"], "plain:faster", 1))
            return await super().hash(password)

    racing = replace(registry, hasher=Racing())
    with pytest.raises(Conflict):
        door.world.run(change_password(racing, door.world.caller("admin"), "bob", PasswordChange("slower-password")))
    assert door.ask("", "GET", "/whoami", authorization=basic("bob", "faster")).status == 200


def test_a_lock_is_seen_and_taken_away(door: Door) -> None:
    """Administrators and whoever it is about see until when a user is locked; administrators end it, with an event."""
    guesser = door.client().with_headers(authorization=basic("bob", "wrong"))
    assert [guesser.request("GET", "/api/v1/whoami").status for _ in range(11)] == [401] * 10 + [429]
    answer = guesser.request("GET", "/api/v1/whoami")
    assert (answer.code, answer["retry-after"]) == ("TOOMANYREQUESTS", "1")
    until = door.send("admin", "GET", "/users/bob")["locked_until"]
    assert until is not None
    assert {each["name"]: each["locked_until"] for each in door.send("admin", "GET", "/users")["users"]} == {
        **dict.fromkeys(("admin", "alice", "carol", "dora")),
        "bob": until,
    }
    assert door.ask("carol", "DELETE", "/users/bob/lock").status == 403
    assert door.ask("admin", "DELETE", "/users/nobody/lock").status == 404
    for _ in range(2):
        assert door.ask("admin", "DELETE", "/users/bob/lock").status == 204
    door.world.clock.advance(seconds=1)
    assert door.send("bob", "GET", "/users/bob")["locked_until"] is None
    assert door.events("user.unlocked") == [("admin", "bob", {})]


def test_the_present_password_is_not_found_out_here(door: Door) -> None:
    """Whoever changes their own password has as many tries for the present one as at the login."""
    change = {"password": "another-password", "current": "wrong"}
    statuses = [door.ask("bob", "PUT", "/users/bob/password", change).status for _ in range(11)]
    assert statuses == [403] * 10 + [429]

"""Roles: the built-in ones, and those that an instance makes."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.domain.grants import GRANTABLE
from tests.api.door import PRIVATE, Door, at, tag_at

CI = {"name": "ci", "actions": ["push", "pull", "tag.create"], "description": "Builds"}


def test_the_built_in_roles_are_marked(shared: Door) -> None:
    """Everybody with an account sees which roles there are and what they allow."""
    found = {role["name"]: role for role in shared.send("bob", "GET", "/roles")["roles"]}
    assert list(found) == ["maintainer", "owner", "reader", "writer"]
    assert all(role["built_in"] and role["created_at"] is None for role in found.values())
    assert found["reader"]["actions"] == ["pull", "scan.read"]
    assert shared.send("bob", "GET", "/roles/reader") == found["reader"]
    assert shared.ask("", "GET", "/roles").status == 401


def test_a_role_is_made(door: Door) -> None:
    """A role is answered with its address, and stands among the built-in ones, page by page."""
    answer = door.ask("admin", "POST", "/roles", CI)
    assert (answer.status, answer["location"]) == (201, "/api/v1/roles/ci")
    assert (answer.json["actions"], answer.json["built_in"]) == (["pull", "push", "tag.create"], False)
    assert door.send("bob", "GET", "/roles/ci") == answer.json
    names, path = [], "/roles?n=2"
    while path:
        page = door.ask("bob", "GET", path)
        names.append([role["name"] for role in page.json["roles"]])
        path = page["link"].partition(">")[0].removeprefix("</api/v1") if "link" in page else ""
    assert names == [["ci", "maintainer"], ["owner", "reader"], ["writer"]]
    assert door.events("role.created") == [("admin", "ci", {"actions": ["pull", "push", "tag.create"]})]


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"actions": ["pull", "push", "fly"]}, 400, "REQUEST_INVALID", "actions[2]"),
        ({"actions": ["admin"]}, 400, "REQUEST_INVALID", "actions[0]"),
        ({"actions": []}, 400, "REQUEST_INVALID", "actions"),
        ({"actions": [1]}, 400, "REQUEST_INVALID", None),
        ({"description": "two\nlines"}, 400, "REQUEST_INVALID", "description"),
        ({"name": "Ci"}, 400, "NAME_INVALID", None),
        ({"name": "writer"}, 409, "ALREADY_EXISTS", None),
    ],
)
def test_roles_that_cannot_be(shared: Door, change: dict[str, Any], status: int, code: str, field: str | None) -> None:
    """Unknown actions are refused with the path of the field and what is allowed; built-in names are taken."""
    answer = shared.ask("admin", "POST", "/roles", {**CI, **change})
    assert (answer.status, answer.code) == (status, code)
    detail = answer.json["errors"][0].get("detail", {})
    assert field is None or detail["field"] == field
    assert not (field or "").startswith("actions") or set(detail["allowed"]) == GRANTABLE


def test_a_name_is_taken_once(door: Door) -> None:
    """A second role of the same name is refused."""
    door.send("admin", "POST", "/roles", CI)
    assert door.ask("admin", "POST", "/roles", CI).code == "ALREADY_EXISTS"


def test_grants_follow_their_role(door: Door) -> None:
    """A changed role changes at once what those have to whom it was given; the same again is no change."""
    door.send("admin", "POST", "/roles", CI)
    door.world.grant("bob", PRIVATE, "ci")
    assert door.ask("bob", "GET", at(PRIVATE)).status == 200
    assert door.ask("bob", "DELETE", tag_at(PRIVATE)).status == 403
    for _ in range(2):
        changed = door.send("admin", "PATCH", "/roles/ci", {"actions": ["pull", "tag.delete"]})
        assert (changed["actions"], changed["description"]) == (["pull", "tag.delete"], "Builds")
    assert door.ask("bob", "DELETE", tag_at(PRIVATE)).status == 204
    assert door.send("admin", "PATCH", "/roles/ci", {"description": ""})["actions"] == ["pull", "tag.delete"]
    details = [detail["actions"] for _, _, detail in door.events("role.changed")]
    assert details[0] == [["pull", "push", "tag.create"], ["pull", "tag.delete"]]
    assert len(details) == 2


def test_a_role_in_use_stays(door: Door) -> None:
    """A role that grants give is not removed, and the refusal says how many do."""
    door.send("admin", "POST", "/roles", CI)
    door.world.grant("bob", PRIVATE, "ci")
    answer = door.ask("admin", "DELETE", "/roles/ci")
    assert (answer.status, answer.json["errors"][0]["detail"]["grants"]) == (409, 1)
    assert answer.json["errors"][0]["message"].startswith("1 grant gives this role")
    door.world.grant("carol", PRIVATE, "ci")
    assert door.ask("admin", "DELETE", "/roles/ci").json["errors"][0]["message"].startswith("2 grants give this role")
    for user in ("bob", "carol"):
        door.send("alice", "DELETE", f"{at(PRIVATE)}/members/{user}")
    assert door.ask("admin", "DELETE", "/roles/ci").status == 204
    assert door.ask("admin", "GET", "/roles/ci").code == "ROLE_UNKNOWN"
    assert door.events("role.removed") == [("admin", "ci", {})]


@pytest.mark.parametrize("name", ["reader", "owner"])
def test_built_in_roles_stay_as_they_are(shared: Door, name: str) -> None:
    """They are neither changed nor removed."""
    assert shared.ask("admin", "PATCH", f"/roles/{name}", {"actions": ["pull"]}).code == "CONFLICT"
    assert shared.ask("admin", "DELETE", f"/roles/{name}").code == "CONFLICT"


def test_roles_that_are_not_there(shared: Door) -> None:
    """An unknown role is 404, to look at, to change and to remove."""
    answers = [
        shared.ask("admin", method, "/roles/none", document)
        for method, document in (("GET", None), ("PATCH", {"description": ""}), ("DELETE", None))
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(404, "ROLE_UNKNOWN")}

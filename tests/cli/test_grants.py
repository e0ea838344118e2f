"""`entrepot grant`, `can-i`, `who-can` and `why`."""

from __future__ import annotations

import http.client
import re

import pytest

from tests.cli.caller import Caller, push
from tests.support.images import image
from tests.support.server import Server
from tests.support.world import basic


def refusal(server: Server, user: str, password: str) -> str:
    """The id that a push of this user is refused with."""
    connection = http.client.HTTPConnection(server.host)
    headers = {"authorization": basic(user, password)}
    connection.request("POST", "/v2/granted/app/blobs/uploads/", headers=headers)
    response = connection.getresponse()
    assert response.status == 403, response.read()
    connection.close()
    return response.headers["entrepot-denial"]


@pytest.fixture
def gina(admin: Caller) -> str:
    """A user without any role."""
    if "gina" not in [user["name"] for user in admin.ask("user", "list")]:
        admin.run("user", "add", "gina", "--generate")
        admin.run("namespace", "create", "granted")
    return "gina"


def test_a_grant_is_given_listed_and_taken(admin: Caller, gina: str) -> None:
    """With all its limits, as a table and as JSON."""
    limits = ("--tags", "v*", "--network", "10.0.0.0/8", "--until", "2030-01-01T00:00:00Z", "--days", "mon,fri")
    hours = ("--hours", "08:00-18:00/Europe/Berlin")
    output = admin.run("grant", "add", f"user:{gina}", "writer", "granted/*", *limits, *hours)
    number = re.match(r"grant (\d+): user:gina has writer on granted/\*\n", output)
    assert number is not None
    (listed,) = admin.ask("grant", "list", "granted")
    assert (listed["tags"], listed["conditions"]["networks"]) == ("v*", ["10.0.0.0/8"])
    assert listed["conditions"]["hours"] == {"start": "08:00", "end": "18:00", "zone": "Europe/Berlin"}
    table = admin.run("grant", "list", "granted")
    assert "tags v*; networks 10.0.0.0/8; " in table
    assert "hours 08:00-18:00 Europe/Berlin" in table
    assert admin.run("grant", "remove", number[1]) == f"grant {number[1]} is taken away\n"
    assert admin.ask("grant", "list", "granted") == []


def test_a_denial_and_actions(admin: Caller, gina: str) -> None:
    """Words that are actions make a list of them, and --deny forbids."""
    made = admin.ask("grant", "add", "everyone", "tag.move,tag.delete", "granted/**", "--deny", "--tags", "v*")
    assert (made["effect"], made["actions"], made["subject"]) == ("deny", ["tag.delete", "tag.move"], "everyone")
    assert "may not pull on *" in admin.run("grant", "add", f"user:{gina}", "pull", "*", "--deny")
    for grant in admin.ask("grant", "list"):
        if grant["effect"] == "deny":
            assert admin.ask("grant", "remove", str(grant["id"])) == {"id": grant["id"]}


def test_bad_grants_are_refused_in_a_line(admin: Caller, gina: str) -> None:
    """What is wrong and what is allowed, exit 1."""
    assert "user:NAME, service:NAME" in admin.fail("grant", "add", gina, "reader", "granted")
    assert "there are: delete, namespace.admin" in admin.fail("grant", "add", f"user:{gina}", "pull,fly", "granted")
    assert "no network" in admin.fail("grant", "add", f"user:{gina}", "reader", "granted", "--network", "10.0.0.0/99")


def test_can_i_says_why_not(admin: Caller, gina: str) -> None:
    """Exit 0 for yes and 1 for no, with reasons; about others, and with a grant that is only supposed."""
    assert admin.run("can-i", "push", "granted/app") == "yes: instance administrator; owner of granted\n"
    refused = admin.call("can-i", "push", "granted/app", "as", gina)
    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout.startswith("no: push on granted/app needs the role writer; gina has ")
    supposed = admin.run(
        "can-i", "push", "granted/app", "as", gina, "--if-granted", f"user:{gina}", "writer", "granted"
    )
    assert supposed.splitlines()[1] == "with that grant yes: writer on granted (grant 0)"
    assert admin.ask("can-i", "pull", "granted/app", "--address", "10.0.0.1")["allowed"]


def test_who_can(admin: Caller, gina: str) -> None:
    """Everybody, and through what."""
    found = admin.ask("who-can", "push", "granted/app")
    assert {"who": "admin", "through": ["instance administrator", "owner of granted"]} in found
    assert "admin" in admin.run("who-can", "push", "granted/app")


def test_a_refusal_is_explained(admin: Caller, nobody: Caller, server: Server, gina: str) -> None:
    """The id that came with it leads to who, what, how often and why; a stranger learns nothing."""
    push(server, "granted/app", image(), "latest")
    admin.run("namespace", "grant", "granted", gina, "reader")
    password = admin.ask("user", "passwd", gina, "--generate")["password"]
    denial = refusal(server, gina, password)
    output = admin.run("why", denial)
    assert output.splitlines()[0] == "gina was refused push on granted/app"
    assert "- gina has reader there\n" in output
    assert admin.ask("why", denial)["count"] == 1
    assert "no such refusal" in admin.fail("why", "nothing")
    admin.run("login", server.url, "--username", gina, "--password-stdin", stdin=password)
    assert "the reasons are for those who own the namespace" in admin.run("why", denial)

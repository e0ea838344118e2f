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
    limits += ("--from", "2029-01-01T00:00:00Z")
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
    assert listed["conditions"]["not_before"] == "2029-01-01T00:00:00Z"
    assert admin.ask("grant", "show", number[1]) == listed
    shown = admin.run("grant", "show", number[1])
    assert f"id: {number[1]}\nsubject: user:gina\neffect: allow\nwhat: writer\nresource: granted/*\n" in shown
    assert "limits: tags v*; networks 10.0.0.0/8; " in shown
    assert "given: by admin at 20" in shown
    assert admin.ask("grant", "list", "granted", "--subject", f"user:{gina}") == [listed]
    assert admin.ask("grant", "list", "granted", "--subject", "everyone") == []
    assert "no such user" in admin.fail("grant", "list", "--subject", "user:nobody-here")
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


def test_can_i_supposes_all_that_a_grant_can_have(admin: Caller, gina: str) -> None:
    """Its limits are judged for the place and the time that are asked about; without a grant they are a mistake."""
    ask = ("can-i", "push", "granted/app", "as", gina, "--if-granted", f"user:{gina}", "writer", "granted")
    limits = ("--if-tags", "v*", "--if-network", "10.0.0.0/8", "--if-outside", "10.9.0.0/16", "--if-listener", "main")
    limits += ("--if-from", "2029-01-01T00:00:00Z", "--if-until", "2031-01-01T00:00:00Z", "--if-days", "thu")
    limits += ("--if-hours", "08:00-18:00", "--if-client", "spiffe://**")
    here = ("--address", "10.1.2.3", "--listener", "main", "--client", "spiffe://acme/ci", "--at", "2030-01-03T12:00")
    told = admin.run(*ask, *limits, *here).splitlines()[1]
    assert told.startswith(
        "with that grant yes: writer on granted for tags like v*, only from 10.0.0.0/8, not from 10.9"
    )
    for other in (("--address", "10.9.1.2"), ("--at", "2030-01-04T12:00:00+01:00"), ("--at", "2032-01-01T12:00")):
        changed = dict(zip(here[::2], here[1::2], strict=True)) | {other[0]: other[1]}
        words = [word for pair in changed.items() for word in pair]
        refused = admin.call(*ask, *limits, *words)
        assert (refused.returncode, "with that grant no: " in refused.stdout) == (1, True)
    denied = admin.call("can-i", "push", "granted/app", "--if-granted", "everyone", "push", "granted", "--if-deny")
    assert (denied.returncode, "with that grant no: push is denied" in denied.stdout) == (1, True)
    assert "Say --if-granted" in admin.fail("can-i", "push", "granted/app", "--if-tags", "v*")
    assert "entrepot who-can" in admin.fail("can-i", "push", "granted/*")


def test_who_can(admin: Caller, server: Server, gina: str) -> None:
    """Everybody, through what, and under which conditions; those that are said are judged."""
    inside = ("--network", "10.0.0.0/8")
    number = admin.ask("grant", "add", f"user:{gina}", "writer", "granted/app", *inside)["id"]
    found = {each["who"]: each for each in admin.ask("who-can", "push", "granted/app")}
    assert found["admin"]["through"] == ["instance administrator", "owner of granted"]
    assert found[gina]["through"] == [f"writer on granted/app, only from 10.0.0.0/8 (grant {number})"]
    table = admin.run("who-can", "push", "granted/app")
    assert table.splitlines()[0].split() == ["WHO", "THROUGH"]
    assert gina not in admin.run("who-can", "push", "granted/app", "--address", "192.0.2.1", "--at", "2026-11-29")
    assert gina in admin.run("who-can", "push", "granted/app", "--address", "10.0.0.1", "--listener", "main")
    denial = admin.ask("grant", "add", "everyone", "push", "granted/secret", "--deny")["id"]
    table = admin.run("who-can", "push", "granted/*").splitlines()
    assert table[0].split() == ["WHO", "WHERE", "THROUGH", "EXCEPT"]
    assert any(
        line.startswith("admin ") and "all of it" in line and "denied on granted/secret" in line for line in table
    )
    assert any(line.startswith(f"{gina} ") and " granted/app " in line and "denied" not in line for line in table)
    assert gina in admin.run("who-can", "push", "**")
    assert "local:" not in admin.run("who-can", "push", "**", "--data", str(server.data))
    for each in (number, denial):
        admin.run("grant", "remove", str(each))


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

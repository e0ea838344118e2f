"""`entrepot organisation`, `entrepot team` and `entrepot role`."""

from __future__ import annotations

import pytest

from tests.cli.caller import Caller
from tests.support.server import Server


@pytest.fixture
def people(admin: Caller) -> dict[str, Caller]:
    """Users of these tests, each with credentials of their own."""
    known = [user["name"] for user in admin.ask("user", "list")]
    found = {}
    for name in ("nina", "omar", "pia"):
        words = ("user", "passwd" if name in known else "add", name, "--password-stdin")
        admin.run(*words, stdin=f"{name}-password")
        found[name] = admin.having(ENTREPOT_USERNAME=name, ENTREPOT_PASSWORD=f"{name}-password")
    return found


def test_the_story_of_an_organisation(admin: Caller, people: dict[str, Caller]) -> None:
    """The example of docs/organisations.md: made, filled, given namespaces and teams, and given up."""
    nina, omar, pia = people["nina"], people["omar"], people["pia"]
    output = admin.run("organisation", "create", "tyrell", "--owner", "nina", "--description", "Tyrell Corp")
    assert output == "organisation tyrell made\n"
    assert nina.run("organisation", "list").splitlines()[1].split()[:4] == ["tyrell", "owner", "Tyrell", "Corp"]
    output = nina.run("namespace", "create", "tyrell-prod", "--owner", "tyrell")
    assert output == "namespace tyrell-prod made: private, owned by tyrell\n"
    assert nina.run("organisation", "invite", "tyrell", "omar").startswith("omar is invited to tyrell as member until ")
    assert omar.run("organisation", "invitations").splitlines()[1].split()[:4] == ["tyrell", "omar", "member", "nina"]
    assert [each["user"] for each in nina.ask("organisation", "invitations", "tyrell")] == ["omar"]
    assert omar.run("organisation", "accept", "tyrell") == "you are member of tyrell\n"
    assert nina.run("organisation", "add", "tyrell", "pia", "owner") == "pia is owner of tyrell\n"
    assert nina.run("team", "create", "tyrell/devs", "--description", "Builders") == "team tyrell/devs made\n"
    assert nina.run("team", "add", "tyrell/devs", "omar") == "omar is in tyrell/devs\n"
    assert omar.run("whoami").splitlines()[1:] == ["member of tyrell", "in the team tyrell/devs"]
    rows = [line.split()[:2] for line in pia.run("organisation", "members", "tyrell").splitlines()[1:]]
    assert rows == [["nina", "owner"], ["omar", "member"], ["pia", "owner"]]
    assert pia.run("organisation", "remove-member", "tyrell", "pia") == "pia is not in tyrell any more\n"
    output = nina.run("organisation", "remove", "tyrell", "--give-to", "omar")
    assert output == "organisation tyrell removed; omar owns tyrell, tyrell-prod now\n"
    assert omar.ask("namespace", "list")[-1]["owner"] == "omar"


def test_organisations_as_documents(admin: Caller, people: dict[str, Caller]) -> None:
    """With `--json`, every command prints the document of the API."""
    made = admin.ask("organisation", "create", "wallace")
    assert (made["name"], made["role"]) == ("wallace", "owner")
    assert admin.ask("organisation", "show", "wallace") == made
    assert "wallace" in admin.run("organisation", "show", "wallace")
    assert admin.ask("organisation", "set", "wallace", "--description", "W")["description"] == "W"
    assert admin.run("organisation", "set", "wallace", "--description", "") == "organisation wallace changed\n"
    assert "wallace" in [each["name"] for each in admin.ask("organisation", "list")]
    assert admin.ask("organisation", "add", "wallace", "nina")["role"] == "member"
    assert [each["user"] for each in admin.ask("organisation", "members", "wallace")] == ["admin", "nina"]
    assert admin.ask("organisation", "remove-member", "wallace", "nina") == {"user": "nina"}
    assert admin.ask("organisation", "invite", "wallace", "nina", "owner")["role"] == "owner"
    assert people["nina"].ask("organisation", "accept", "wallace")["role"] == "owner"
    for words in (("withdraw", "wallace", "omar"), ("withdraw", "wallace", "omar", "--json")):
        admin.run("organisation", "invite", "wallace", "omar")
        assert "omar" in admin.run("organisation", *words)
    for words in (("decline", "wallace"), ("decline", "wallace", "--json")):
        admin.run("organisation", "invite", "wallace", "omar")
        assert "wallace" in people["omar"].run("organisation", *words)
    admin.run("namespace", "set", "wallace", "--owner", "")
    assert admin.ask("organisation", "remove", "wallace") == {"name": "wallace", "namespaces": []}


def test_an_organisation_without_namespaces_is_removed(admin: Caller) -> None:
    """Nothing is said of namespaces where there were none."""
    admin.run("organisation", "create", "bare")
    admin.run("namespace", "set", "bare", "--owner", "")
    assert admin.run("organisation", "remove", "bare") == "organisation bare removed\n"


def test_teams_as_tables_and_documents(admin: Caller, people: dict[str, Caller]) -> None:
    """A team is written as organisation and name with a slash between them."""
    assert people
    admin.run("organisation", "create", "spinner")
    made = admin.ask("team", "create", "spinner/ops")
    assert (made["organisation"], made["name"]) == ("spinner", "ops")
    assert admin.ask("team", "show", "spinner/ops") == made
    assert admin.run("team", "show", "spinner/ops").splitlines()[1].split()[:2] == ["spinner", "ops"]
    assert admin.run("team", "set", "spinner/ops", "--description", "On call") == "team spinner/ops changed\n"
    assert admin.ask("team", "set", "spinner/ops", "--description", "")["description"] == ""
    assert admin.run("team", "list", "spinner").splitlines()[1].split()[0] == "ops"
    assert [each["name"] for each in admin.ask("team", "list", "spinner")] == ["ops"]
    assert "not in the organisation spinner" in admin.fail("team", "add", "spinner/ops", "pia")
    assert admin.ask("team", "add", "spinner/ops", "pia", "--join")["user"] == "pia"
    assert admin.run("team", "members", "spinner/ops").splitlines()[1].split()[:2] == ["pia", "local"]
    assert [each["user"] for each in admin.ask("team", "members", "spinner/ops")] == ["pia"]
    assert admin.run("team", "remove-member", "spinner/ops", "pia") == "pia is not in spinner/ops any more\n"
    admin.run("team", "add", "spinner/ops", "pia")
    assert admin.ask("team", "remove-member", "spinner/ops", "pia") == {"user": "pia"}
    assert admin.run("team", "remove", "spinner/ops") == "team spinner/ops removed\n"
    admin.run("team", "create", "spinner/ops")
    assert admin.ask("team", "remove", "spinner/ops") == {"team": "spinner/ops"}


def test_roles_are_made_and_changed(admin: Caller) -> None:
    """A role is made of actions, shown beside the built-in ones, changed and removed."""
    assert admin.run("role", "create", "packer", "pull", "push", "--description", "Packs") == (
        "role packer made: pull, push\n"
    )
    lines = {line.split()[0]: line.split() for line in admin.run("role", "list").splitlines()[1:]}
    assert lines["packer"][1:] == ["no", "pull,", "push", "Packs"]
    assert lines["writer"][1] == "yes"
    assert admin.run("role", "set", "packer", "pull") == "role packer changed: pull\n"
    changed = admin.ask("role", "set", "packer", "--description", "Looks")
    assert (changed["actions"], changed["description"]) == (["pull"], "Looks")
    assert admin.ask("role", "show", "packer") == changed
    assert admin.run("role", "show", "packer").splitlines()[1].split() == ["packer", "no", "pull", "Looks"]
    assert "packer" in [each["name"] for each in admin.ask("role", "list")]
    assert admin.run("role", "remove", "packer") == "role packer removed\n"
    assert admin.ask("role", "create", "packer", "pull")["built_in"] is False
    assert admin.ask("role", "remove", "packer") == {"name": "packer"}


def test_all_of_it_works_on_files(admin: Caller, nobody: Caller, people: dict[str, Caller], server: Server) -> None:
    """With --data, organisations, teams and roles are managed beside the running server, which follows."""
    at = ("--data", str(server.data))
    assert "name one as its owner" in nobody.fail("organisation", "create", "offworld", *at)
    assert nobody.run("organisation", "create", "offworld", "--owner", "nina", *at) == "organisation offworld made\n"
    nobody.run("team", "create", "offworld/crew", *at)
    nobody.run("team", "add", "offworld/crew", "nina", *at)
    nobody.run("role", "create", "pilot", "pull", *at)
    assert people["nina"].ask("whoami")["teams"] == ["offworld/crew"]
    assert nobody.ask("organisation", "show", "offworld", *at)["role"] is None
    assert "invitation" in nobody.fail("organisation", "accept", "offworld", *at)
    assert admin.ask("role", "show", "pilot")["actions"] == ["pull"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("organisation", "create", "library"), "a namespace of this name belongs to somebody else"),
        (("organisation", "show", "none"), "no organisation of this name"),
        (("organisation", "create", "fine", "--owner", "nobody"), "there is no such user"),
        (("team", "create", "devs"), "ORGANISATION/TEAM"),
        (("team", "show", "/devs"), "ORGANISATION/TEAM"),
        (("team", "show", "acme/"), "ORGANISATION/TEAM"),
        (("role", "create", "odd", "pull", "fly"), "actions[1]: no such action; there are: delete, "),
        (("role", "create", "reader", "pull"), "built-in role"),
        (("role", "set", "reader"), "say what to change"),
        (("role", "remove", "none"), "there is no such role"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail(*words)


def test_the_last_owner_is_named(admin: Caller, people: dict[str, Caller]) -> None:
    """A user who alone owns an organisation is not removed, and the refusal says what to call first."""
    assert people
    admin.run("user", "add", "roy", "--generate")
    admin.run("organisation", "create", "nexus", "--owner", "roy")
    assert "entrepot organisation add nexus USER owner" in admin.fail("user", "remove", "roy")
    admin.run("organisation", "add", "nexus", "nina", "owner")
    assert admin.run("user", "remove", "roy") == "user roy removed\n"


def test_a_stranger_is_told_nothing(people: dict[str, Caller], admin: Caller) -> None:
    """Somebody else's organisation looks like none, on the command line too."""
    admin.run("organisation", "create", "closed")
    for words in (("organisation", "members"), ("team", "list")):
        there, absent = (people["omar"].fail(*words, name) for name in ("closed", "none"))
        assert there == absent

"""`entrepot namespace` and `entrepot repository`."""

from __future__ import annotations

import pytest

from tests.cli.caller import Caller, push
from tests.support.images import image
from tests.support.server import Server


@pytest.fixture
def owner(admin: Caller) -> str:
    """A user who owns namespaces in these tests."""
    if "olivia" not in [user["name"] for user in admin.ask("user", "list")]:
        admin.run("user", "add", "olivia", "--generate")
    return "olivia"


def test_a_namespace_is_made(admin: Caller, owner: str) -> None:
    """The example of the README: a public namespace with an owner."""
    output = admin.run("namespace", "create", "acme", "--public", "--owner", owner)
    assert output == "namespace acme made: public, owned by olivia\n"
    entries = admin.ask("namespace", "list")
    assert ("acme", "public", owner) in [(each["name"], each["visibility"], each["owner"]) for each in entries]
    assert any(line.split()[:3] == ["acme", "public", owner] for line in admin.run("namespace", "list").splitlines())


def test_a_namespace_is_made_on_files(nobody: Caller, server: Server) -> None:
    """With --data, a namespace that no user is named for belongs to nobody, and the server follows."""
    output = nobody.run("namespace", "create", "offline", "--data", str(server.data))
    assert output == "namespace offline made: private, without an owner\n"
    member = nobody.ask("namespace", "grant", "offline", "admin", "reader", "--data", str(server.data))
    assert member == {"user": "admin", "role": "reader"}


def test_a_namespace_changes(admin: Caller, owner: str) -> None:
    """Owner and visibility are set alone or together, and nobody can own it."""
    admin.run("namespace", "create", "change-me")
    assert admin.run("namespace", "set", "change-me", "--public").endswith("changed: public, owned by admin\n")
    output = admin.run("namespace", "set", "change-me", "--private", "--owner", owner)
    assert output == "namespace change-me changed: private, owned by olivia\n"
    assert admin.ask("namespace", "set", "change-me", "--owner", "")["owner"] is None
    output = admin.run("namespace", "set", "change-me", "--no-away-pulls")
    assert output.endswith("without an owner, no pulls while the database is away\n")
    assert admin.ask("namespace", "set", "change-me", "--no-away-pulls")["away_pulls"] is False
    assert admin.ask("namespace", "set", "change-me", "--away-pulls")["away_pulls"] is True
    output = admin.run("namespace", "set", "change-me", "--untagged-days", "3")
    assert output == "namespace change-me changed: private, without an owner, untagged for 3 days\n"
    assert admin.ask("namespace", "set", "change-me", "--untagged-days", "0")["untagged_days"] == 0


def test_a_namespace_is_shown(admin: Caller) -> None:
    """All that is set of it, a line each; for how long it keeps what is untagged is in the list too."""
    admin.run("namespace", "create", "shown", "--public")
    told = admin.run("namespace", "show", "shown").splitlines()
    assert {"name: shown", "visibility: public", "owner: admin", "untagged days: 14", "listeners: -"} <= set(told)
    assert admin.ask("namespace", "show", "shown")["untagged_days"] == 14
    header, *rows = admin.run("namespace", "list").splitlines()
    assert header.split() == ["NAME", "VISIBILITY", "OWNER", "UNTAGGED", "DAYS", "CREATED", "AT"]
    assert ["shown", "public", "admin", "14"] in [row.split()[:4] for row in rows]


def test_roles_are_given_and_taken(admin: Caller, owner: str, server: Server) -> None:
    """Roles on a namespace and on one repository are given, listed and taken."""
    admin.run("namespace", "create", "team")
    push(server, "team/app", image(), "1")
    for resource in ("team", "team/app"):
        assert admin.run("namespace", "grant", resource, owner, "writer") == f"olivia is writer of {resource}\n"
        assert admin.run("namespace", "members", resource).splitlines()[1].split() == [owner, "writer"]
        assert admin.ask("namespace", "members", resource) == [{"user": owner, "role": "writer"}]
        assert admin.run("namespace", "revoke", resource, owner) == f"olivia has no role on {resource} any more\n"
        assert admin.ask("namespace", "members", resource) == []


def test_repositories_are_listed_and_opened(admin: Caller, server: Server) -> None:
    """Repositories are listed by namespace, and one is made public by itself and follows again."""
    admin.run("namespace", "create", "shelf")
    push(server, "shelf/one", image(), "1")
    push(server, "shelf/two", image(), "1")
    assert [each["name"] for each in admin.ask("repository", "list", "shelf")] == ["shelf/one", "shelf/two"]
    assert "shelf/one" in admin.run("repository", "list")
    assert admin.run("repository", "set", "shelf/one", "--public") == "repository shelf/one is public by itself\n"
    assert admin.ask("repository", "set", "shelf/one", "--private")["override"] == "private"
    assert admin.run("repository", "set", "shelf/one", "--inherit").endswith("is private as its namespace\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("namespace", "create", "library"), "there is a namespace of this name"),
        (("namespace", "create", "v2"), "reserved"),
        (("namespace", "create", "fine", "--owner", "nobody"), "there is no such user"),
        (("namespace", "set", "library"), "say what to change"),
        (("namespace", "set", "library", "--public", "--private"), "exclude each other"),
        (("namespace", "set", "none", "--public"), "not known to registry"),
        (("namespace", "set", "library", "--untagged-days", "36501"), "untagged_days"),
        (("namespace", "show", "none"), "not known to registry"),
        (("namespace", "grant", "library", "nobody", "reader"), "there is no such user"),
        (("namespace", "revoke", "library", "admin"), "no role here"),
        (("namespace", "members", "none/app"), "not known to registry"),
        (("repository", "set", "none/app", "--public"), "not known to registry"),
        (("repository", "set", "none/app"), "say one of"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail(*words)


def test_a_refusal_gives_its_reasons(admin: Caller, owner: str) -> None:
    """Whoever may not is told which role is needed."""
    password = admin.ask("user", "passwd", owner, "--generate")["password"]
    stranger = admin.having(ENTREPOT_USERNAME=owner, ENTREPOT_PASSWORD=password)
    assert "needs the role owner" in stranger.fail("namespace", "set", "library", "--public")
    assert "entrepot namespace create grand" in stranger.fail("namespace", "create", "grand")

"""`entrepot user show`, `set`, `disable` and `enable`, and what lists find."""

from __future__ import annotations

import pytest

from tests.cli.caller import Caller
from tests.support.server import Server


def add(admin: Caller, name: str) -> Caller:
    """Make a user; the same machine with their login."""
    password = admin.ask("user", "add", name, "--generate")["password"]
    return admin.having(ENTREPOT_USERNAME=name, ENTREPOT_PASSWORD=password)


def test_a_user_is_made_an_administrator(admin: Caller) -> None:
    """And administers, until that is taken back; told in words and as JSON."""
    nadia = add(admin, "nadia")
    assert "only instance administrators may do this" in nadia.fail("user", "list")
    assert admin.run("user", "set", "nadia", "--admin") == "user nadia administers the registry\n"
    assert nadia.ask("user", "list", "--admin", "--prefix", "nadia")[0]["name"] == "nadia"
    assert admin.ask("user", "set", "nadia", "--no-admin")["administrator"] is False
    assert "only instance administrators may do this" in nadia.fail("user", "list")
    assert admin.run("user", "set", "nadia", "--no-admin") == "user nadia does not administer the registry\n"


def test_a_user_is_disabled_and_enabled(admin: Caller) -> None:
    """Nothing that they have opens anything meanwhile, and all of it does afterwards."""
    oscar = add(admin, "oscar")
    token = oscar.having(ENTREPOT_PASSWORD=oscar.ask("token", "create", "laptop")["secret"])
    assert admin.run("user", "disable", "oscar") == "user oscar disabled\n"
    assert "wrong user name or password" in oscar.fail("whoami")
    assert "this account is disabled" in token.fail("whoami")
    assert ["oscar", "no", "yes", "local"] in [line.split()[:4] for line in admin.run("user", "list").splitlines()]
    assert admin.ask("user", "enable", "oscar")["disabled"] is False
    assert {each.ask("whoami")["name"] for each in (oscar, token)} == {"oscar"}
    assert admin.run("user", "disable", "oscar") == "user oscar disabled\n"
    assert admin.run("user", "enable", "oscar") == "user oscar enabled\n"


def test_a_user_is_shown(admin: Caller) -> None:
    """Line by line, or as JSON; also to themselves."""
    peggy = add(admin, "peggy")
    lines = admin.run("user", "show", "peggy").splitlines()
    assert lines[:3] == ["name: peggy", "administrator: no", "disabled: no"]
    assert [line.partition(":")[0] for line in lines[3:]] == ["created at", "source", "locked until", "gone at"]
    assert peggy.ask("user", "show", "peggy")["source"] == "local"


def test_users_are_looked_for(admin: Caller) -> None:
    """By each of the flags, and by several at once."""
    for name in ("quinn1", "quinn2", "quinn3"):
        add(admin, name)
    admin.run("user", "set", "quinn1", "--admin")
    admin.run("user", "disable", "quinn2")

    def names(*words: str) -> list[str]:
        return [user["name"] for user in admin.ask("user", "list", "--prefix", "quinn", *words)]

    assert names("--admin") == ["quinn1"]
    assert names("--no-admin") == ["quinn2", "quinn3"]
    assert names("--disabled") == ["quinn2"]
    assert names("--enabled", "--no-admin") == ["quinn3"]
    assert names("--source", "local") == ["quinn1", "quinn2", "quinn3"]
    assert names("--source", "oidc") == []
    admin.run("user", "set", "quinn1", "--no-admin")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("set", "admin"), "say what to change: --admin or --no-admin"),
        (("set", "admin", "--no-admin"), "this is the last administrator; make another one first"),
        (("set", "nobody", "--admin"), "there is no such user"),
        (("disable", "admin"), "nobody disables themselves; another administrator does it"),
        (("disable", "nobody"), "there is no such user"),
        (("enable", "robot$ci"), "there is no such user"),
        (("show", "nobody"), "there is no such user"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail("user", *words)


def test_a_lost_administrator_is_replaced_at_the_machine(nobody: Caller, server: Server) -> None:
    """Whoever can open the files makes an administrator of anybody, and keeps the last one as well."""
    nobody.run("user", "add", "rupert", "--generate", "--data", str(server.data))
    nobody.run("user", "set", "rupert", "--admin", "--data", str(server.data))
    nobody.run("user", "disable", "admin", "--data", str(server.data))
    assert nobody.fail("user", "disable", "rupert", "--data", str(server.data)).startswith("this is the last")
    nobody.run("user", "enable", "admin", "--data", str(server.data))
    nobody.run("user", "remove", "rupert", "--data", str(server.data))

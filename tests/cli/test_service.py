"""`entrepot service-account`, `entrepot token` and `entrepot login-password`."""

from __future__ import annotations

import re

import pytest

from tests.cli.caller import Caller
from tests.support.server import Server

SECRET = re.compile(r"ent_(pat|svc|tmp)_[0-9A-Za-z]{36}")


def add(admin: Caller, *words: str) -> str:
    """Make a secret; the secret."""
    first, second = admin.run(*words).splitlines()
    assert first.endswith("made; it is shown this once:")
    assert SECRET.fullmatch(second)
    return second


def logged_in(admin: Caller, name: str, secret: str) -> Caller:
    """The same machine with another login."""
    return admin.having(ENTREPOT_USERNAME=name, ENTREPOT_PASSWORD=secret)


def test_a_service_account_from_its_making_to_its_end(admin: Caller) -> None:
    """Made, given a role and a secret, looked at, disabled, enabled and removed; the robot$ may be left out."""
    admin.run("namespace", "create", "srv")
    made = admin.run("service-account", "create", "ci", "--namespace", "srv", "--description", "builds")
    assert made == "service account robot$srv+ci made\n"
    granted = admin.run("namespace", "grant", "srv", "robot$srv+ci", "writer")
    assert granted == "robot$srv+ci is writer of srv\n"
    assert "robot$srv+ci" in admin.run("namespace", "members", "srv")
    secret = add(admin, "service-account", "secret", "add", "srv+ci", "2026-11", "--scope", "pull", "--days", "90")
    robot = logged_in(admin, "robot$srv+ci", secret)
    assert robot.ask("whoami")["name"] == "robot$srv+ci"
    header, line = admin.run("service-account", "show", "robot$srv+ci").splitlines()
    assert (header.split()[:3], line.split()[:3]) == (["NAME", "NAMESPACE", "DISABLED"], ["robot$srv+ci", "srv", "no"])
    assert "robot$srv+ci disabled" in admin.run("service-account", "disable", "srv+ci")
    assert "this account is disabled" in robot.fail("whoami")
    assert admin.ask("service-account", "enable", "srv+ci")["disabled"] is False
    assert robot.ask("whoami")["name"] == "robot$srv+ci"
    assert admin.run("service-account", "remove", "srv+ci") == "service account robot$srv+ci removed\n"
    assert admin.fail("service-account", "show", "srv+ci") == "there is no such service account"
    assert admin.ask("namespace", "members", "srv") == []


def test_service_accounts_are_listed(admin: Caller) -> None:
    """All of them, or those of a namespace, for people and as JSON."""
    admin.run("namespace", "create", "lst")
    admin.ask("service-account", "create", "everywhere")
    admin.ask("service-account", "create", "ci", "--namespace", "lst")
    assert {"robot$everywhere", "robot$lst+ci"} <= {each["name"] for each in admin.ask("service-account", "list")}
    assert [each["name"] for each in admin.ask("service-account", "list", "--namespace", "lst")] == ["robot$lst+ci"]
    assert "robot$lst+ci" in admin.run("service-account", "list", "--namespace", "lst")
    assert admin.ask("service-account", "show", "everywhere")["namespace"] is None
    assert admin.ask("service-account", "remove", "everywhere") == {"name": "robot$everywhere"}


def test_secrets_are_rotated(admin: Caller) -> None:
    """Two are good at once; the old one is revoked by its name, then by its id another one."""
    admin.ask("service-account", "create", "rotated")
    old = add(admin, "service-account", "secret", "add", "rotated", "old")
    new = admin.ask("service-account", "secret", "add", "rotated", "new")
    for secret in (old, new["secret"]):
        assert logged_in(admin, "robot$rotated", secret).ask("whoami")["token"] is True
    header, first, second = admin.run("service-account", "secret", "list", "rotated").splitlines()
    assert header.split()[:5] == ["ID", "KIND", "NAME", "HINT", "SCOPES"]
    assert [line.split()[2] for line in (first, second)] == ["old", "new"]
    assert "(all)" in first
    revoked = admin.run("service-account", "secret", "revoke", "rotated", "old")
    assert revoked == "secret old of robot$rotated revoked\n"
    assert "has been revoked" in logged_in(admin, "robot$rotated", old).fail("whoami")
    assert logged_in(admin, "robot$rotated", new["secret"]).ask("whoami")["name"] == "robot$rotated"
    number = new["details"]["id"]
    assert admin.ask("service-account", "secret", "revoke", "rotated", str(number)) == {"id": number, "name": "new"}
    listed = admin.ask("service-account", "secret", "list", "rotated")
    assert all(each["revoked_at"] for each in listed)
    assert admin.fail("service-account", "secret", "revoke", "rotated", "old").startswith("there is no secret")


def test_personal_tokens(admin: Caller) -> None:
    """Made, used to log in, listed, revoked by name; an administrator ends all of somebody else's at once."""
    password = admin.ask("user", "add", "tok", "--generate")["password"]
    user = logged_in(admin, "tok", password)
    token = add(user, "token", "create", "laptop", "--scope", "pull", "--scope", "repository:tok/*:push", "--days", "1")
    narrow = {"token": True, "organisations": None, "teams": None}
    assert logged_in(admin, "tok", token).ask("whoami") == {**user.ask("whoami"), **narrow}
    assert user.ask("token", "list")[0]["scopes"] == ["pull", "repository:tok/*:push"]
    assert "laptop" in user.run("token", "list")
    assert user.run("token", "revoke", "laptop") == "token laptop revoked\n"
    for name in ("one", "two"):
        user.ask("token", "create", name)
    revoked = admin.ask("token", "revoke", "--all", "--user", "tok")
    assert [each["name"] for each in revoked] == ["one", "two"]
    assert admin.ask("token", "revoke", "--all", "--user", "tok") == []
    for words in ((), ("one", "--all")):
        assert "--all" in user.fail("token", "revoke", *words)


def test_a_login_password(admin: Caller) -> None:
    """Nothing but the password on standard output, so that it can be piped into docker login."""
    output = admin.run("login-password")
    assert SECRET.fullmatch(output.removesuffix("\n"))
    assert logged_in(admin, "admin", output.strip()).ask("whoami")["name"] == "admin"
    document = admin.ask("login-password", "--hours", "1")
    assert set(document) == {"username", "password", "expires_at"}
    assert "12" in admin.fail("login-password", "--hours", "13")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("service-account", "create", "CI"), "lower-case"),
        (("service-account", "create", "ci", "--namespace", "nowhere"), "namespace name not known"),
        (("service-account", "secret", "add", "nobody", "x"), "there is no such service account"),
        (("token", "create", "x", "--scope", "fly"), "a scope is"),
        (("token", "create", "x", "--days", "0"), "days"),
        (("token", "create", "x", "--user", "nobody"), "there is no such user"),
        (("token", "revoke", "nothing"), "there is no secret"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail(*words)


def test_secrets_stay_out_of_logs(admin: Caller, server: Server) -> None:
    """Nothing that was made is in what the server logs."""
    secrets = [add(admin, "token", "create", "logged"), admin.run("login-password").strip()]
    for secret in secrets:
        logged_in(admin, "admin", secret).run("whoami")
    assert not any(secret in server.output() for secret in secrets)

"""`entrepot register`, `user email`, `user reset-password` and invitations by mail, with a server that sends mail."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.cli.caller import Caller
from tests.support.mail import code_in
from tests.support.post import Post
from tests.support.server import ADMIN_PASSWORD, Server

PASSWORD = "a-password-of-erin"


@pytest.fixture(scope="module")
def post() -> Iterator[Post]:
    """A mail server."""
    with Post() as post:
        yield post


@pytest.fixture(scope="module")
def town(post: Post, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry that sends its mail there, and where everybody may register."""
    environment = {
        "ENTREPOT_MAIL__URL": f"smtp://127.0.0.1:{post.controller.port}",
        "ENTREPOT_MAIL__START_TLS": "false",
        "ENTREPOT_MAIL__SENDER": "registry@example.com",
        "ENTREPOT_AUTH__REGISTRATION": "open",
    }
    with Server(tmp_path_factory.mktemp("town") / "data", environment=environment) as server:
        yield server


@pytest.fixture
def person(tmp_path: pathlib.Path, town: Server) -> Caller:
    """Somebody who knows where the registry is."""
    return Caller(tmp_path, {"ENTREPOT_SERVER_URL": town.url})


@pytest.fixture
def chief(person: Caller) -> Caller:
    """The administrator."""
    return person.having(ENTREPOT_USERNAME="admin", ENTREPOT_PASSWORD=ADMIN_PASSWORD)


def test_from_nobody_to_a_member(person: Caller, chief: Caller, post: Post, town: Server) -> None:
    """Registered by a letter, another password by a letter, another address by a letter, and into an organisation."""
    number = len(post.handler.taken)
    assert "on its way" in person.run("register", "erin@example.com")
    lines = f"{code_in(post.wait(number))}\n{PASSWORD}\n"
    assert person.run("register", "--confirm", "--name", "erin", "--code-stdin", stdin=lines) == (
        f"user erin made; log in: entrepot login {town.url}\n"
    )
    assert "on its way" in person.run("user", "reset-password", "erin")
    lines = f"{code_in(post.wait(number + 1))}\n{PASSWORD}-2\n"
    changed = person.run("user", "reset-password", "--confirm", "--code-stdin", stdin=lines)
    assert changed.startswith("the password is changed")
    erin = person.having(ENTREPOT_USERNAME="erin", ENTREPOT_PASSWORD=f"{PASSWORD}-2")
    assert erin.run("user", "email", "show", "erin") == "erin@example.com\n"
    assert "on its way" in erin.having().run(
        "user", "email", "set", "erin", "erin@example.org", "--password-stdin", stdin=f"{PASSWORD}-2\n"
    )
    confirmed = erin.run("user", "email", "confirm", "erin", "--code-stdin", stdin=code_in(post.wait(number + 2)))
    assert confirmed == "erin@example.org is the address of erin\n"
    chief.run("organisation", "create", "acme")
    assert "is invited" in chief.run("organisation", "invite-mail", "acme", "erin@example.org")
    assert erin.run("organisation", "accept-mail", "--code-stdin", stdin=code_in(post.wait(number + 3))) == "accepted\n"
    assert "member of acme" in erin.run("whoami")
    assert erin.ask("user", "email", "remove", "erin") == {"name": "erin"}
    assert erin.ask("user", "email", "show", "erin")["email"] is None


def test_administrators_need_no_mail(person: Caller, chief: Caller) -> None:
    """A code for another password is printed; an address is vouched for."""
    chief.run("user", "add", "theo", "--password-stdin", stdin=PASSWORD)
    code = chief.run("user", "reset-code", "theo").splitlines()[0]
    lines = f"{code}\n{PASSWORD}-2\n"
    assert person.ask("user", "reset-password", "--confirm", "--code-stdin", stdin=lines) == {}
    theo = person.having(ENTREPOT_USERNAME="theo", ENTREPOT_PASSWORD=f"{PASSWORD}-2")
    assert theo.ask("whoami")["name"] == "theo"
    assert chief.run("user", "email", "set", "theo", "theo@example.com", "--verified") == "the address is set\n"
    assert (
        chief.ask("user", "email", "set", "theo", "theo@example.org", "--verified")["message"] == "the address is set"
    )
    assert chief.run("user", "email", "remove", "theo") == "the address of theo is forgotten\n"


def test_invitations_are_taken_back(chief: Caller) -> None:
    """Listed with their ids, and withdrawn."""
    made = chief.ask("organisation", "invite-mail", "", "fred@example.com")
    assert made["id"] in chief.run("organisation", "mailed")
    assert chief.run("organisation", "withdraw-mail", made["id"]) == f"invitation {made['id']} withdrawn\n"
    assert chief.ask("organisation", "mailed") == []
    made = chief.ask("organisation", "invite-mail", "", "fred@example.com")
    assert chief.ask("organisation", "withdraw-mail", made["id"]) == {"id": made["id"]}


def test_what_is_missing_is_said(person: Caller) -> None:
    """Neither an address nor a code; no terminal; and a wrong code is one line."""
    assert "give an e-mail address" in person.fail("register")
    assert "give a user name" in person.fail("user", "reset-password")
    assert "--code-stdin" in person.fail("user", "reset-password", "--confirm")
    assert "holds no code" in person.fail("user", "reset-password", "--confirm", "--code-stdin")
    lines = f"wrong\n{PASSWORD}\n"
    assert "this code is wrong" in person.fail("register", "--confirm", "--name", "x", "--code-stdin", stdin=lines)

"""`entrepot team-group`."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.db.sqlite import SqliteDatabase
from entrepot.metadata import accounts
from entrepot.metadata.accounts import Faceless
from entrepot.ports.database import Tx
from tests.cli.caller import Caller
from tests.support.server import Server

DN = r"cn=Devs\, all,ou=groups,dc=example,dc=org"


@pytest.fixture
def team(server: Server, request: pytest.FixtureRequest) -> str:
    """A team of an organisation of its own."""
    name = f"org{abs(hash(request.node.name))}"

    async def record(tx: Tx) -> None:
        organisation = await accounts.add_faceless(tx, Faceless(name, "organisation"), 1)
        await tx.execute("insert into team (organisation, name, created_at) values ($1, 'devs', 1)", organisation)

    async def change() -> None:
        database = SqliteDatabase(server.data / "entrepot.db")
        await database.transact(record)
        await database.close()

    asyncio.run(change())
    return f"{name}/devs"


def test_groups_of_a_team(admin: Caller, team: str) -> None:
    """A group is added, listed and removed, with a line for people and a document for programs."""
    assert admin.run("team-group", "add", team, DN) == f"{DN} makes members of {team}\n"
    header, line = admin.run("team-group", "list", team).splitlines()
    assert header.split() == ["GROUP", "ADDED", "BY", "ADDED", "AT"]
    assert line.startswith(f"{DN}  admin")
    assert admin.ask("team-group", "add", team, "ops")["group"] == "ops"
    assert [group["group"] for group in admin.ask("team-group", "list", team)] == [DN, "ops"]
    assert admin.run("team-group", "remove", team, DN) == f"{DN} makes no members of {team} any more\n"
    assert admin.ask("team-group", "remove", team, "ops") == {"group": "ops"}
    assert admin.ask("team-group", "list", team) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "acme", "devs"), "name the team as ORGANISATION/TEAM"),
        (("list", "acme/"), "name the team as ORGANISATION/TEAM"),
        (("remove", "acme/devs/x", "devs"), "name the team as ORGANISATION/TEAM"),
        (("list", "none/devs"), "there is no such team"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail("team-group", *words)

"""Rows of accounts of a directory, their memberships, and groups that stand for teams, over every engine."""

from __future__ import annotations

from functools import partial

from entrepot.metadata import accounts, directory, policy, team_groups
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.directory import LinkedRow, MembershipRow
from entrepot.metadata.team_groups import MappedTeamRow, TeamGroupRow, TeamRow
from entrepot.ports.database import Tx
from tests.contract.engines import Held
from tests.contract.rows import NOW


def add_team(held: Held, organisation: int, name: str) -> int:
    """A team; its id."""

    async def work(tx: Tx) -> int:
        row = await tx.one(
            "insert into team (organisation, name, created_at) values ($1, $2, $3) returning id",
            organisation,
            name,
            NOW,
        )
        assert row is not None
        return int(row[0])

    return held.transact(work)


def add_organisation(held: Held, name: str) -> int:
    """An organisation; its id."""
    return held.transact(lambda tx: accounts.add_faceless(tx, Faceless(name, "organisation"), NOW))


def test_accounts_of_a_directory(held: Held) -> None:
    """They are accounts like others, told apart by their source, without a password."""
    held.transact(lambda tx: accounts.add_account(tx, "ann", "hash", is_admin=False, now=NOW))
    erin = held.transact(lambda tx: directory.add_linked(tx, "erin", "uuid", NOW))
    assert held.read(lambda tx: directory.find_linked(tx, "erin")) == LinkedRow(
        erin, "erin", "uuid", is_disabled=False, gone_at=None, credentials_since=NOW
    )
    assert held.read(lambda tx: directory.find_linked(tx, "ann")) is None
    sources = [(row.name, row.source) for row in held.read(lambda tx: accounts.list_accounts(tx, "", 9))]
    assert sources == [("ann", "local"), ("erin", "ldap")]
    found = held.read(lambda tx: accounts.find_account(tx, "erin"))
    assert found is not None
    assert (found.password_hash, found.source, found.kind) == ("", "ldap", "user")


def test_accounts_of_a_directory_are_listed_in_pages(held: Held) -> None:
    """By name in byte order, local ones left out."""
    for name in ("b", "a-b", "a0", "a"):
        held.transact(partial(directory.add_linked, name=name, external="", now=NOW))
    held.transact(lambda tx: accounts.add_account(tx, "aa", "hash", is_admin=False, now=NOW))
    first = held.read(lambda tx: directory.list_linked(tx, "", 2))
    rest = held.read(lambda tx: directory.list_linked(tx, first[-1].name, 9))
    assert [row.name for row in [*first, *rest]] == ["a", "a-b", "a0", "b"]


def test_accounts_go_and_come_back(held: Held) -> None:
    """One that is gone is disabled and its tokens are void; back again it is enabled, and they stay void."""
    erin = held.transact(lambda tx: directory.add_linked(tx, "erin", "", NOW))
    held.transact(lambda tx: directory.set_gone(tx, erin, NOW + 5))
    assert held.read(lambda tx: directory.find_linked(tx, "erin")) == LinkedRow(
        erin, "erin", "", is_disabled=True, gone_at=NOW + 5, credentials_since=NOW + 5
    )
    held.transact(lambda tx: directory.set_back(tx, erin))
    account = held.read(policy.get_policy).accounts[erin]
    assert (account.is_disabled, account.credentials_since) == (False, NOW + 5)
    assert held.read(lambda tx: directory.list_linked(tx, "", 9))[0].gone_at is None


def test_memberships_by_a_directory(held: Held) -> None:
    """They are added once, told apart from those given by hand, and those are not taken away."""
    acme, erin = add_organisation(held, "acme"), held.transact(lambda tx: directory.add_linked(tx, "erin", "", NOW))
    devs, ops = add_team(held, acme, "devs"), add_team(held, acme, "ops")
    held.execute("insert into team_member (team, account, added_at) values ($1, $2, 1)", ops, erin)
    for team in (devs, ops, devs):
        held.transact(partial(directory.add_membership, team=team, account=erin, now=NOW))
    assert held.read(lambda tx: directory.list_memberships(tx, erin)) == [
        MembershipRow(devs, acme, "acme/devs", "ldap"),
        MembershipRow(ops, acme, "acme/ops", "local"),
    ]
    assert held.read(policy.get_policy).teams == {erin: frozenset({devs, ops})}
    for team in (devs, ops):
        held.transact(partial(directory.remove_membership, team=team, account=erin))
    assert [row.team for row in held.read(lambda tx: directory.list_memberships(tx, erin))] == [ops]


def test_organisations_by_a_directory(held: Held) -> None:
    """Members that the directory made are told apart from those made by hand, who stay."""
    acme, other = add_organisation(held, "acme"), add_organisation(held, "other")
    erin = held.transact(lambda tx: directory.add_linked(tx, "erin", "", NOW))
    held.execute(
        "insert into organisation_member (organisation, account, role, added_at) values ($1, $2, 'owner', 1)",
        other,
        erin,
    )
    for organisation in (acme, other, acme):
        held.transact(partial(directory.add_to_organisation, organisation=organisation, account=erin, now=NOW))
    assert held.read(lambda tx: directory.list_organisations(tx, erin)) == {acme: "ldap", other: "local"}
    assert held.read(policy.get_policy).owners == {other: frozenset({erin})}
    for organisation in (acme, other):
        held.transact(partial(directory.remove_from_organisation, organisation=organisation, account=erin))
    assert held.read(lambda tx: directory.list_organisations(tx, erin)) == {other: "local"}


def test_teams_are_found(held: Held) -> None:
    """By organisation and name; a user is no organisation."""
    acme, other = add_organisation(held, "acme"), add_organisation(held, "other")
    held.transact(lambda tx: accounts.add_account(tx, "ann", "hash", is_admin=False, now=NOW))
    devs = add_team(held, acme, "devs")
    assert held.read(lambda tx: team_groups.find_organisation(tx, "acme")) == acme
    assert held.read(lambda tx: team_groups.find_organisation(tx, "ann")) is None
    assert held.read(lambda tx: team_groups.find_organisation(tx, "none")) is None
    assert held.read(lambda tx: team_groups.find_team(tx, acme, "devs")) == TeamRow(devs, acme)
    assert held.read(lambda tx: team_groups.find_team(tx, other, "devs")) is None


def test_groups_of_teams(held: Held) -> None:
    """A group is added to a team once, listed by pages, and goes with its team."""
    acme = add_organisation(held, "acme")
    devs, ops = add_team(held, acme, "devs"), add_team(held, acme, "ops")
    rows = [TeamGroupRow(key, key.upper(), "admin", NOW) for key in ("c", "a", "b")]
    for row in rows:
        assert held.transact(partial(team_groups.add_team_group, team=devs, group=row))
        assert not held.transact(partial(team_groups.add_team_group, team=devs, group=row))
    assert held.transact(lambda tx: team_groups.add_team_group(tx, ops, rows[1]))
    first = held.read(lambda tx: team_groups.list_team_groups(tx, devs, "", 2))
    rest = held.read(lambda tx: team_groups.list_team_groups(tx, devs, first[-1].key, 9))
    assert [*first, *rest] == [rows[1], rows[2], rows[0]]
    assert held.read(team_groups.list_mapped_teams) == [
        MappedTeamRow("a", devs, acme, "acme/devs"),
        MappedTeamRow("a", ops, acme, "acme/ops"),
        MappedTeamRow("b", devs, acme, "acme/devs"),
        MappedTeamRow("c", devs, acme, "acme/devs"),
    ]
    assert held.transact(lambda tx: team_groups.remove_team_group(tx, devs, "a"))
    assert not held.transact(lambda tx: team_groups.remove_team_group(tx, devs, "a"))
    held.execute("delete from team where id = $1", devs)
    assert held.read(team_groups.list_mapped_teams) == [MappedTeamRow("a", ops, acme, "acme/ops")]

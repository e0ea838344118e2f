"""Rows of organisations, teams, roles and invitations, over every engine."""

from __future__ import annotations

from functools import partial

import pytest

from entrepot.domain.access import Action
from entrepot.domain.errors import AlreadyExists
from entrepot.domain.grants import ROLES
from entrepot.metadata import accounts, grants, invitations, namespaces, organisations, policy, roles, teams
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.grants import NewGrantRow
from entrepot.metadata.invitations import InvitationRow, NewInvitationRow
from entrepot.metadata.organisations import MemberRow, OrganisationRow
from entrepot.metadata.roles import RoleRow
from entrepot.metadata.teams import TeamMemberRow, TeamRow
from tests.contract.engines import Held
from tests.contract.rows import NOW


def user(held: Held, name: str) -> int:
    """A user; their id."""
    return held.transact(lambda tx: accounts.add_account(tx, name, "hash", is_admin=False, now=NOW))


def organisation(held: Held, name: str = "acme") -> int:
    """An organisation; its id."""
    return held.transact(lambda tx: accounts.add_faceless(tx, Faceless(name, "organisation", None, "Acme Ltd"), NOW))


def team(held: Held, of: int, name: str = "devs") -> int:
    """A team; its id."""
    assert held.transact(lambda tx: teams.add_team(tx, of, name, "Developers", NOW))
    found = held.read(lambda tx: teams.find_team(tx, of, name))
    assert found is not None
    return found.id


def test_organisations(held: Held) -> None:
    """An organisation is found as an account sees it, and described anew; no user is one."""
    ann, acme = user(held, "ann"), organisation(held)
    assert held.read(lambda tx: organisations.find_organisation(tx, "ann", ann)) is None
    seen = OrganisationRow(acme, "acme", "Acme Ltd", NOW, None)
    assert held.read(lambda tx: organisations.find_organisation(tx, "acme", ann)) == seen
    held.transact(lambda tx: organisations.put_member(tx, acme, ann, "owner", NOW))
    held.transact(lambda tx: organisations.set_description(tx, acme, "Acme plc"))
    seen = OrganisationRow(acme, "acme", "Acme plc", NOW, "owner")
    assert held.read(lambda tx: organisations.find_organisation(tx, "acme", ann)) == seen
    with pytest.raises(AlreadyExists):
        user(held, "acme")


def test_organisations_are_listed_in_pages(held: Held) -> None:
    """All of them, or those of one account, come in byte order, page by page, with the account's role."""
    ann = user(held, "ann")
    ids = {name: organisation(held, name) for name in ("b", "a-b", "a", "a0")}
    for name in ("a", "b"):
        held.transact(partial(organisations.put_member, organisation=ids[name], account=ann, role="member", now=NOW))
    first = held.read(lambda tx: organisations.list_organisations(tx, ann, "", 2))
    rest = held.read(lambda tx: organisations.list_organisations(tx, ann, first[-1].name, 9))
    assert [(row.name, row.role) for row in [*first, *rest]] == [
        ("a", "member"),
        ("a-b", None),
        ("a0", None),
        ("b", "member"),
    ]
    assert [row.name for row in held.read(lambda tx: organisations.list_organisations_of(tx, ann, "", 1))] == ["a"]
    assert [row.name for row in held.read(lambda tx: organisations.list_organisations_of(tx, ann, "a", 9))] == ["b"]


def test_members(held: Held) -> None:
    """A member is let in once, can change, is listed by name, and leaves the organisation's teams too."""
    ann, bob, acme, beta = user(held, "ann"), user(held, "bob"), organisation(held), organisation(held, "beta")
    devs, others = team(held, acme), team(held, beta)
    held.execute(
        f"insert into organisation_member (organisation, account, role, source, added_at) "
        f"values ({acme}, {bob}, 'member', 'directory', {NOW})"
    )
    directory = MemberRow("bob", "member", "directory", NOW)
    assert held.read(lambda tx: organisations.find_member(tx, acme, bob)) == directory
    held.transact(lambda tx: organisations.put_member(tx, acme, ann, "owner", NOW))
    held.transact(lambda tx: organisations.put_member(tx, acme, bob, "owner", NOW + 1))
    assert held.read(lambda tx: organisations.list_members(tx, acme, "", 9)) == [
        MemberRow("ann", "owner", "local", NOW),
        MemberRow("bob", "owner", "local", NOW),
    ]
    assert [row.user for row in held.read(lambda tx: organisations.list_members(tx, acme, "ann", 1))] == ["bob"]
    for each in (devs, others):
        held.transact(partial(teams.put_member, team=each, account=bob, now=NOW))
    held.transact(lambda tx: organisations.remove_member(tx, acme, bob))
    assert held.read(lambda tx: organisations.find_member(tx, acme, bob)) is None
    assert held.read(lambda tx: teams.list_teams_of(tx, bob, 9)) == ["beta/devs"]


def test_owners(held: Held) -> None:
    """Whoever alone owns an organisation is found: those who cannot log in do not count beside them."""
    ann, bob, acme, beta = user(held, "ann"), user(held, "bob"), organisation(held), organisation(held, "beta")
    for each in (acme, beta):
        held.transact(partial(organisations.put_member, organisation=each, account=ann, role="owner", now=NOW))
    held.transact(lambda tx: organisations.put_member(tx, acme, bob, "owner", NOW))
    assert held.read(lambda tx: organisations.has_other_owner(tx, acme, ann))
    assert not held.read(lambda tx: organisations.has_other_owner(tx, beta, ann))
    assert held.read(lambda tx: organisations.list_owned_alone(tx, ann)) == ["beta"]
    assert held.read(lambda tx: organisations.list_owned_alone(tx, bob)) == []
    held.execute("update account set is_disabled = 1 where name = 'bob'")
    assert not held.read(lambda tx: organisations.has_other_owner(tx, acme, ann))
    assert held.read(lambda tx: organisations.list_owned_alone(tx, ann)) == ["acme", "beta"]


def test_the_policy_knows_organisations(held: Held) -> None:
    """A snapshot finds organisations by name, with who is in them and who owns them."""
    ann, bob, acme = user(held, "ann"), user(held, "bob"), organisation(held)
    held.transact(lambda tx: organisations.put_member(tx, acme, ann, "owner", NOW))
    held.transact(lambda tx: organisations.put_member(tx, acme, bob, "member", NOW))
    snapshot = held.read(policy.get_policy)
    assert snapshot.organisations == {"acme": acme}
    assert [snapshot.membership(account, "acme") for account in (ann, bob, acme)] == ["owner", "member", None]
    assert snapshot.membership(ann, "none") is None
    assert (snapshot.owned_by(ann), snapshot.owned_by(bob)) == (["acme"], [])
    assert (snapshot.patrons(ann, "acme-prod"), snapshot.patrons(ann, "acmeprod")) == (["acme"], [])


def test_removing_an_organisation_leaves_nothing_of_it(held: Held) -> None:
    """Teams, their grants, members and invitations go; another organisation's stay, and namespaces without an owner."""
    ann, acme, beta = user(held, "ann"), organisation(held), organisation(held, "beta")
    devs, others = team(held, acme), team(held, beta)
    held.transact(lambda tx: namespaces.add_namespace(tx, "acme", acme, "private", NOW))
    assert held.read(lambda tx: namespaces.list_owned(tx, acme)) == ["acme"]
    for each, of in ((devs, acme), (others, beta)):
        held.transact(partial(organisations.put_member, organisation=of, account=ann, role="owner", now=NOW))
        held.transact(partial(teams.put_member, team=each, account=ann, now=NOW))
        held.transact(partial(grants.put_role, grant=NewGrantRow(("team", each), "x", "reader"), granted_by="", now=1))
        new = NewInvitationRow(of, ann, "member", "ann", NOW, NOW + 9)
        held.transact(partial(invitations.put_invitation, new=new))
    held.transact(lambda tx: organisations.remove_organisation(tx, acme))
    assert held.read(lambda tx: organisations.find_organisation(tx, "acme", ann)) is None
    assert held.read(lambda tx: teams.list_teams_of(tx, ann, 9)) == ["beta/devs"]
    assert [row.name for row in held.read(lambda tx: grants.list_grants(tx, ("", "~"), 0, 9))] == ["beta/devs"]
    left = held.read(lambda tx: invitations.list_invitations_of(tx, ann, NOW, "", 9))
    assert [row.organisation for row in left] == ["beta"]
    found = held.read(lambda tx: namespaces.find_namespace(tx, "acme"))
    assert found is not None
    assert found.owner is None


def test_teams(held: Held) -> None:
    """A team is new once in its organisation, is described anew, listed by name, and goes with its grants."""
    acme, beta = organisation(held), organisation(held, "beta")
    devs = team(held, acme)
    team(held, acme, "ops")
    team(held, beta)
    assert not held.transact(lambda tx: teams.add_team(tx, acme, "devs", "", NOW))
    assert held.read(lambda tx: teams.find_team(tx, acme, "none")) is None
    held.transact(lambda tx: teams.set_description(tx, devs, "Builders"))
    first = held.read(lambda tx: teams.list_teams(tx, acme, "", 1))
    assert first == [TeamRow(devs, "acme", "devs", "Builders", NOW)]
    assert [row.name for row in held.read(lambda tx: teams.list_teams(tx, acme, "devs", 9))] == ["ops"]
    row = NewGrantRow(("team", devs), "acme", "reader")
    held.transact(lambda tx: grants.put_role(tx, row, "ann", NOW))
    held.transact(lambda tx: teams.remove_team(tx, devs))
    assert held.read(lambda tx: teams.find_team(tx, acme, "devs")) is None
    assert held.read(lambda tx: grants.list_grants(tx, ("", "~"), 0, 9)) == []


def test_members_of_teams(held: Held) -> None:
    """Somebody is in a team once, whoever wrote it down first, and is gone when they are let go."""
    ann, bob, acme = user(held, "ann"), user(held, "bob"), organisation(held)
    devs = team(held, acme)
    held.execute(
        f"insert into team_member (team, account, source, added_at) values ({devs}, {ann}, 'directory', {NOW})"
    )
    assert held.read(lambda tx: teams.find_member(tx, devs, ann)) == TeamMemberRow("ann", "directory", NOW)
    assert held.read(lambda tx: teams.find_member(tx, devs, bob)) is None
    for account in (ann, bob):
        held.transact(partial(teams.put_member, team=devs, account=account, now=NOW + 1))
    assert held.read(lambda tx: teams.list_members(tx, devs, "", 9)) == [
        TeamMemberRow("ann", "local", NOW),
        TeamMemberRow("bob", "local", NOW + 1),
    ]
    assert [row.user for row in held.read(lambda tx: teams.list_members(tx, devs, "ann", 1))] == ["bob"]
    assert held.read(lambda tx: teams.list_teams_of(tx, ann, 9)) == ["acme/devs"]
    assert held.read(lambda tx: teams.list_teams_of(tx, ann, 0)) == []
    assert held.transact(lambda tx: teams.remove_member(tx, devs, ann))
    assert not held.transact(lambda tx: teams.remove_member(tx, devs, ann))


def test_roles(held: Held) -> None:
    """A role is new once, changes, is counted where grants give it, listed by name, and removed."""
    ann = user(held, "ann")
    ci = RoleRow("ci", frozenset({Action.PULL, Action.PUSH}), "Builds", NOW)
    assert held.transact(lambda tx: roles.add_role(tx, ci))
    assert not held.transact(lambda tx: roles.add_role(tx, ci))
    assert held.transact(lambda tx: roles.add_role(tx, RoleRow("audit", ROLES["reader"], "", NOW)))
    assert held.read(lambda tx: roles.find_role(tx, "ci")) == ci
    changed = RoleRow("ci", frozenset({Action.DELETE}), "", NOW)
    held.transact(lambda tx: roles.set_role(tx, changed))
    assert [row.name for row in held.read(lambda tx: roles.list_roles(tx, "", 1))] == ["audit"]
    assert held.read(lambda tx: roles.list_roles(tx, "audit", 9)) == [changed]
    assert held.read(lambda tx: roles.count_grants(tx, "ci")) == 0
    held.transact(lambda tx: grants.put_role(tx, NewGrantRow(("account", ann), "acme", "ci"), "ann", NOW))
    assert held.read(lambda tx: roles.count_grants(tx, "ci")) == 1
    (grant,) = held.read(policy.get_policy).grants["account", ann]
    assert (grant.actions, grant.title) == (frozenset({Action.DELETE}), "ci")
    held.transact(lambda tx: roles.remove_role(tx, "ci"))
    assert held.read(lambda tx: roles.find_role(tx, "ci")) is None


def test_invitations(held: Held) -> None:
    """An invitation is found and listed from both sides until it expires, replaced by another, and removed."""
    ann, bob, acme, beta = user(held, "ann"), user(held, "bob"), organisation(held), organisation(held, "beta")
    for of, account, until in ((acme, ann, 5), (acme, bob, 9), (beta, ann, 9)):
        new = NewInvitationRow(of, account, "member", "zoe", NOW, NOW + until)
        held.transact(partial(invitations.put_invitation, new=new))
    found = held.read(lambda tx: invitations.find_invitation(tx, "acme", ann, NOW + 4))
    assert found == InvitationRow("acme", "ann", "member", "zoe", NOW, NOW + 5)
    assert held.read(lambda tx: invitations.find_invitation(tx, "acme", ann, NOW + 5)) is None
    assert held.read(lambda tx: invitations.find_invitation(tx, "none", ann, NOW)) is None
    page = held.read(lambda tx: invitations.list_invitations(tx, acme, NOW, "", 1))
    assert [row.user for row in page] == ["ann"]
    page = held.read(lambda tx: invitations.list_invitations(tx, acme, NOW + 5, "", 9))
    assert [row.user for row in page] == ["bob"]
    page = held.read(lambda tx: invitations.list_invitations_of(tx, ann, NOW, "acme", 9))
    assert [row.organisation for row in page] == ["beta"]
    page = held.read(lambda tx: invitations.list_invitations_of(tx, ann, NOW + 5, "", 9))
    assert [row.organisation for row in page] == ["beta"]
    again = NewInvitationRow(beta, ann, "owner", "yan", NOW + 6, NOW + 20)
    held.transact(lambda tx: invitations.put_invitation(tx, again))
    assert held.rows("select count(*) from invitation") == [(2,)]
    found = held.read(lambda tx: invitations.find_invitation(tx, "beta", ann, NOW + 6))
    assert found == InvitationRow("beta", "ann", "owner", "yan", NOW + 6, NOW + 20)
    held.transact(lambda tx: invitations.remove_invitation(tx, beta, ann))
    held.transact(lambda tx: accounts.remove_account(tx, bob))
    assert held.rows("select count(*) from invitation") == [(0,)]

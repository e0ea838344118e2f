"""Rows of accounts, namespaces, grants, policy, repositories and the instance, over every engine."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from entrepot.domain.access import Action
from entrepot.domain.errors import AlreadyExists
from entrepot.domain.grants import ROLES, Conditions, Grant
from entrepot.domain.names import RepositoryName
from entrepot.domain.policy import AccountPolicy, NamespacePolicy
from entrepot.metadata import (
    accounts,
    denials,
    directory,
    grants,
    instance,
    namespaces,
    policy,
    repositories,
    roles,
    teams,
)
from entrepot.metadata.accounts import AccountFilter, AccountRow, Faceless
from entrepot.metadata.denials import DenialRow
from entrepot.metadata.grants import NewGrantRow
from entrepot.metadata.namespaces import NamespaceRow
from entrepot.metadata.repositories import RepositoryRow
from entrepot.ports.database import Tx, Work
from tests.contract.engines import Held
from tests.contract.rows import APP, NOW, OTHER, add_repository, digest


def adding(name: str, *, is_admin: bool = False) -> Work[int]:
    """Work that adds an account."""
    return lambda tx: accounts.add_account(tx, name, f"hash of {name}", is_admin=is_admin, now=NOW)


def test_the_first_value_of_the_instance_stays(held: Held) -> None:
    """Whoever is first sets a value; a second attempt changes nothing."""
    assert held.read(lambda tx: instance.find_value(tx, "key")) is None
    held.transact(lambda tx: instance.add_value(tx, "key", "first"))
    held.transact(lambda tx: instance.add_value(tx, "key", "second"))
    assert held.read(lambda tx: instance.find_value(tx, "key")) == "first"
    for value in ("third", "fourth"):
        held.transact(partial(instance.put_value, name="key", value=value))
    assert held.read(lambda tx: instance.find_value(tx, "key")) == "fourth"


def test_accounts(held: Held) -> None:
    """An account is found by its name as it was added, and its password can be changed."""
    assert not held.read(accounts.has_any_account)
    ann = held.transact(adding("ann", is_admin=True))
    assert held.read(accounts.has_any_account)
    assert held.read(lambda tx: accounts.find_account(tx, "ann")) == AccountRow(
        ann, "ann", "hash of ann", is_admin=True, is_disabled=False, created_at=NOW, kind="user", credentials_since=NOW
    )
    held.transact(lambda tx: accounts.set_password(tx, ann, "other", NOW + 1))
    found = held.read(lambda tx: accounts.find_account(tx, "ann"))
    assert found is not None
    assert (found.password_hash, found.credentials_since) == ("other", NOW + 1)
    assert held.read(policy.get_policy).accounts[ann].credentials_since == NOW + 1
    assert held.read(lambda tx: accounts.find_account(tx, "bob")) is None


def test_an_account_name_is_taken_once(held: Held) -> None:
    """A second account of the same name is AlreadyExists."""
    held.transact(adding("ann"))
    with pytest.raises(AlreadyExists):
        held.transact(adding("ann"))


def test_accounts_without_a_password(held: Held) -> None:
    """Organisations and service accounts share the pool of names, and are no users."""
    org = held.transact(lambda tx: accounts.add_faceless(tx, Faceless("acme", "organisation"), NOW))
    held.transact(lambda tx: namespaces.add_namespace(tx, "acme", org, "private", NOW))
    ((home,),) = held.rows("select id from namespace where name = 'acme'")
    robot = held.transact(
        lambda tx: accounts.add_faceless(tx, Faceless("robot$acme+ci", "service", home, "builds"), NOW)
    )
    found = held.read(lambda tx: accounts.find_account(tx, "robot$acme+ci"))
    assert found is not None
    assert (found.id, found.kind, found.password_hash) == (robot, "service", "")
    assert held.read(lambda tx: accounts.list_accounts(tx, "", 9)) == []
    assert held.read(policy.get_policy).accounts[org].kind == "organisation"
    with pytest.raises(AlreadyExists):
        held.transact(adding("acme"))


def test_accounts_are_listed_in_pages(held: Held) -> None:
    """Accounts come in byte order, page by page."""
    for name in ("b", "a-b", "a", "a0"):
        held.transact(adding(name))
    first = held.read(lambda tx: accounts.list_accounts(tx, "", 3))
    rest = held.read(lambda tx: accounts.list_accounts(tx, first[-1].name, 3))
    assert [row.name for row in [*first, *rest]] == ["a", "a-b", "a0", "b"]


def test_accounts_are_looked_for(held: Held) -> None:
    """By standing, source and beginning, each alone and all together, page by page; others in between are left out."""
    for name in ("ann", "anna", "ann-b", "bob", "an"):
        held.transact(adding(name, is_admin=name.startswith("ann")))
    erin = held.transact(lambda tx: directory.add_linked(tx, "anne", "uuid", NOW))
    bob = held.read(lambda tx: accounts.find_account(tx, "bob"))
    assert bob is not None
    held.transact(lambda tx: accounts.set_standing(tx, msgspec.structs.replace(bob, is_disabled=True)))

    def names(wanted: AccountFilter, after: str = "", limit: int = 9) -> list[str]:
        return [row.name for row in held.read(lambda tx: accounts.list_accounts(tx, after, limit, wanted))]

    assert names(AccountFilter(is_admin=True)) == ["ann", "ann-b", "anna"]
    assert names(AccountFilter(is_admin=False)) == ["an", "anne", "bob"]
    assert names(AccountFilter(is_disabled=True)) == ["bob"]
    assert names(AccountFilter(is_disabled=False, is_admin=False)) == ["an", "anne"]
    assert names(AccountFilter(source="ldap")) == ["anne"]
    assert names(AccountFilter(prefix="ann")) == ["ann", "ann-b", "anna", "anne"]
    assert names(AccountFilter(prefix="ann"), "ann", 2) == ["ann-b", "anna"]
    assert names(AccountFilter(prefix="ann"), "anna", 2) == ["anne"]
    assert names(AccountFilter(prefix="annex")) == []
    assert names(AccountFilter(is_admin=False, is_disabled=False, source="ldap", prefix="a")) == ["anne"]
    held.transact(lambda tx: directory.set_gone(tx, erin, NOW + 1))
    assert names(AccountFilter(is_disabled=True)) == ["anne", "bob"]


def test_the_standing_of_an_account(held: Held) -> None:
    """Whether it administers, is disabled, and since when it is gone are stored together, and nothing else moves."""
    held.transact(adding("ann"))
    ann = held.read(lambda tx: accounts.find_account(tx, "ann"))
    assert ann is not None
    for changed in (
        msgspec.structs.replace(ann, is_admin=True, is_disabled=True, gone_at=NOW + 1),
        msgspec.structs.replace(ann, is_admin=True),
        ann,
    ):
        held.transact(partial(accounts.set_standing, account=changed))
        assert held.read(lambda tx: accounts.find_account(tx, "ann")) == changed


def test_administrators_are_counted(held: Held) -> None:
    """Only those count who are administrators and not disabled."""
    for name in ("a", "b", "c"):
        held.transact(adding(name, is_admin=name != "a"))
    held.execute("update account set is_disabled = 1 where name = 'b'")
    assert held.read(accounts.count_administrators) == 1


def test_removing_an_account_leaves_what_it_owned(held: Held) -> None:
    """Grants go with their user, a namespace stays without an owner."""
    ann = held.transact(adding("ann"))
    held.transact(lambda tx: namespaces.add_namespace(tx, "acme", ann, "public", NOW))
    held.transact(lambda tx: grants.put_role(tx, NewGrantRow(("account", ann), "other", "reader"), "admin", NOW))
    held.transact(lambda tx: accounts.remove_account(tx, ann))
    assert held.read(lambda tx: accounts.find_account(tx, "ann")) is None
    assert held.read(lambda tx: grants.list_roles(tx, "other")) == []
    found = held.read(lambda tx: namespaces.find_namespace(tx, "acme"))
    assert found is not None
    assert found.owner is None


def test_namespaces(held: Held) -> None:
    """A namespace is new once, is found with its owner's name, and can change owner and visibility."""
    ann = held.transact(adding("ann"))
    bob = held.transact(adding("bob"))
    assert held.read(lambda tx: namespaces.find_namespace(tx, "acme")) is None
    assert held.transact(lambda tx: namespaces.add_namespace(tx, "acme", ann, "private", NOW))
    assert not held.transact(lambda tx: namespaces.add_namespace(tx, "acme", bob, "public", NOW))
    found = held.read(lambda tx: namespaces.find_namespace(tx, "acme"))
    assert found is not None
    assert found == NamespaceRow(found.id, "acme", "hosted", "ann", "private", 14, NOW)
    held.transact(lambda tx: namespaces.set_namespace(tx, "acme", bob, "public"))
    found = held.read(lambda tx: namespaces.find_namespace(tx, "acme"))
    assert found is not None
    assert (found.owner, found.visibility) == ("bob", "public")
    held.transact(lambda tx: namespaces.set_listeners(tx, "acme", ("a", "b")))
    found = held.read(lambda tx: namespaces.find_namespace(tx, "acme"))
    assert found is not None
    assert (found.listeners, found.away_pulls) == (("a", "b"), True)
    held.transact(lambda tx: namespaces.set_away_pulls(tx, "acme", are_served=False))
    found = held.read(lambda tx: namespaces.find_namespace(tx, "acme"))
    assert found is not None
    assert not found.away_pulls


def test_namespaces_are_listed_in_pages(held: Held) -> None:
    """Namespaces come in byte order, page by page."""
    for name in ("b", "a-b", "a", "a0"):
        assert held.transact(partial(namespaces.add_namespace, name=name, owner=None, visibility="private", now=NOW))
    first = held.read(lambda tx: namespaces.list_namespaces(tx, "", 2))
    rest = held.read(lambda tx: namespaces.list_namespaces(tx, first[-1].name, 9))
    assert [row.name for row in [*first, *rest]] == ["a", "a-b", "a0", "b"]


def test_named_namespaces_are_found_in_long_lists(held: Held) -> None:
    """Of many names, more than one statement asks for, those that are there are found."""
    for name in ("b", "a"):
        held.transact(partial(namespaces.add_namespace, name=name, owner=None, visibility="private", now=NOW))
    wanted = ["a", *(f"none{number}" for number in range(450)), "b"]
    found = held.read(lambda tx: namespaces.list_named_namespaces(tx, wanted))
    assert {row.name for row in found} == {"a", "b"}
    assert held.read(lambda tx: namespaces.list_named_namespaces(tx, [])) == []


def test_untagged_days_are_the_namespace_s(held: Held) -> None:
    """A repository keeps what was pushed by digest for as long as its namespace says."""
    known = add_repository(held)
    assert held.read(lambda tx: namespaces.get_untagged_days(tx, known)) == 14
    (name,) = held.rows("select name from namespace")[0]
    held.transact(lambda tx: namespaces.set_untagged_days(tx, name, 3))
    assert held.read(lambda tx: namespaces.get_untagged_days(tx, known)) == 3


def test_grants(held: Held) -> None:
    """A grant replaces the one before on the same resource; taking it away says whether there was one."""
    ann, bob = held.transact(adding("ann")), held.transact(adding("bob"))
    for account, resource, role, is_new in (
        (bob, "acme", "reader", True),
        (ann, "acme", "reader", True),
        (ann, "acme", "owner", True),
        (ann, "acme", "owner", False),
        (ann, "acme/app", "writer", True),
    ):
        row = NewGrantRow(("account", account), resource, role)
        assert held.transact(partial(grants.put_role, grant=row, granted_by="admin", now=NOW)) is is_new
    assert held.read(lambda tx: grants.list_roles(tx, "acme")) == [("ann", "owner"), ("bob", "reader")]
    assert held.transact(lambda tx: grants.remove_roles(tx, ("account", ann), "acme"))
    assert not held.transact(lambda tx: grants.remove_roles(tx, ("account", ann), "acme"))
    assert held.read(lambda tx: grants.list_roles(tx, "acme")) == [("bob", "reader")]


def test_grants_with_all_that_they_can_have(held: Held) -> None:
    """Actions, tags, conditions and an effect come back as they were given; exactly the same twice is one."""
    ann = held.transact(adding("ann"))
    conditions = Conditions(networks=("10.0.0.0/8",))
    full = NewGrantRow(
        ("account", ann), "acme/*", actions=("push", "pull"), effect="deny", tags="v*", conditions=conditions
    )
    number = held.transact(lambda tx: grants.add_grant(tx, full, "admin", NOW))
    assert number is not None
    assert held.transact(lambda tx: grants.add_grant(tx, full, "bob", NOW)) is None
    held.transact(lambda tx: grants.add_grant(tx, NewGrantRow(("everyone", 0), "pub", "reader"), "admin", NOW))
    found = held.read(lambda tx: grants.find_grant(tx, number))
    assert found is not None
    assert (found.kind, found.name, found.account_kind, found.actions) == ("account", "ann", "user", ("pull", "push"))
    assert (found.effect, found.tags, found.conditions, found.role) == ("deny", "v*", conditions, "")
    assert [row.resource for row in held.read(lambda tx: grants.list_grants(tx, ("", "~"), 0, 9))] == ["acme/*", "pub"]
    assert held.read(lambda tx: grants.list_grants(tx, ("acme", "acme0"), 0, 9)) == [found]
    assert held.read(lambda tx: grants.list_grants_of(tx, ("account", ann), ("", "~"), 0, 9)) == [found]
    assert held.read(lambda tx: grants.list_grants_of(tx, ("account", ann), ("", "~"), number, 9)) == []
    (other,) = held.read(lambda tx: grants.list_grants_of(tx, ("everyone", 0), ("p", "q"), 0, 9))
    assert other.resource == "pub"
    snapshot = held.read(policy.get_policy)
    assert snapshot.has_conditions
    (grant,) = snapshot.grants["account", ann]
    assert (grant.title, grant.is_deny, grant.tags, grant.conditions) == ("pull, push", True, "v*", conditions)
    assert held.transact(lambda tx: grants.remove_grant(tx, number))
    assert not held.transact(lambda tx: grants.remove_grant(tx, number))
    held.transact(lambda tx: grants.remove_of(tx, ("everyone", 0)))
    assert held.read(lambda tx: grants.list_grants(tx, ("", "~"), 0, 9)) == []


def test_roles_and_teams_are_found_by_name(held: Held) -> None:
    """A role by its own, a team by that of its organisation and its own; a word of a later version gives nothing."""
    org = held.transact(lambda tx: accounts.add_faceless(tx, Faceless("acme", "organisation"), NOW))
    held.execute("insert into role (name, actions, created_at) values ('tagger', '[\"tag.move\", \"fly\"]', 0)")
    held.execute(f"insert into team (organisation, name, created_at) values ({org}, 'devs', 0)")
    tagger = held.read(lambda tx: roles.find_role(tx, "tagger"))
    assert tagger is not None
    assert tagger.actions == {Action.TAG_MOVE}
    assert held.read(lambda tx: roles.find_role(tx, "none")) is None
    team = held.read(lambda tx: teams.find_team_id(tx, "acme", "devs"))
    assert team is not None
    assert held.read(lambda tx: teams.find_team_id(tx, "other", "devs")) is None
    held.transact(lambda tx: grants.add_grant(tx, NewGrantRow(("team", team), "acme", "tagger"), "admin", NOW))
    (row,) = held.read(lambda tx: grants.list_grants(tx, ("", "~"), 0, 9))
    assert (row.kind, row.name, row.account_kind) == ("team", "acme/devs", "")
    (grant,) = held.read(policy.get_policy).grants["team", team]
    assert (grant.actions, grant.title) == ({Action.TAG_MOVE}, "tagger")


def test_refusals(held: Held) -> None:
    """The same refusal adds up, with its last address and reasons; old ones go, so many at a time."""
    row = DenialRow("id", 7, "bob", "pull", "acme/app", "192.0.2.1", ("no",), NOW, NOW, 2)
    later = DenialRow("id", 7, "bob", "pull", "acme/app", "192.0.2.2", ("never",), NOW + 5, NOW + 9, 3)
    for each in (row, later, msgspec.structs.replace(row, id="other")):
        held.transact(partial(denials.put_denial, denial=each))
    found = held.read(lambda tx: denials.find_denial(tx, "id"))
    assert found == msgspec.structs.replace(later, first_at=NOW, count=5)
    assert held.read(lambda tx: denials.find_denial(tx, "none")) is None
    assert [held.read(partial(denials.find_oldest_of, newest=newest)) for newest in (1, 2, 3)] == [NOW + 9, NOW, 0]
    assert held.transact(lambda tx: denials.remove_denials(tx, NOW + 1, 9)) == 1
    assert held.transact(lambda tx: denials.remove_denials(tx, NOW + 99, 9)) == 1


def test_the_policy_is_read_whole(held: Held) -> None:
    """A snapshot holds accounts, namespaces, grants and the repositories that differ from their namespace."""
    known = add_repository(held)
    add_repository(held, OTHER)
    ann = held.transact(adding("ann", is_admin=True))

    async def change(tx: Tx) -> None:
        await repositories.set_visibility(tx, known, "public")
        await namespaces.set_namespace(tx, "acme", ann, "private")
        await namespaces.set_listeners(tx, "acme", ("private",))
        await grants.put_role(tx, NewGrantRow(("account", ann), "acme/other", "writer"), "admin", NOW)
        await policy.bump_policy_version(tx)

    before = held.read(policy.get_policy_version)
    held.transact(change)
    snapshot = held.read(policy.get_policy)
    assert snapshot.version == held.read(policy.get_policy_version) == before + 1
    assert snapshot.accounts == {ann: AccountPolicy("ann", is_admin=True, is_disabled=False, credentials_since=NOW)}
    assert snapshot.namespaces == {"acme": NamespacePolicy(ann, "private", ("private",))}
    assert (snapshot.elsewhere, snapshot.has_conditions) == ({"acme": ("private",)}, True)
    assert snapshot.repositories == {"acme/app": "public"}
    (grant,) = snapshot.grants["account", ann]
    assert grant == Grant(grant.id, ("account", ann), ROLES["writer"], "acme/other", "writer")


def test_repositories(held: Held) -> None:
    """A repository is new once, needs its namespace, and may differ from it in visibility."""
    assert not held.transact(lambda tx: repositories.add_repository(tx, APP, NOW))
    known = add_repository(held)
    assert not held.transact(lambda tx: repositories.add_repository(tx, APP, NOW))
    assert held.read(lambda tx: repositories.find_repository(tx, APP)) == RepositoryRow(
        known, "acme/app", "oci", None, NOW
    )
    held.transact(lambda tx: repositories.set_visibility(tx, known, "public"))
    found = held.read(lambda tx: repositories.find_repository(tx, APP))
    assert found is not None
    assert found.visibility == "public"
    assert held.read(lambda tx: repositories.find_repository(tx, OTHER)) is None
    assert held.read(lambda tx: repositories.find_repository_id(tx, OTHER)) is None


def test_repositories_are_listed_in_ranges(held: Held) -> None:
    """Names above one and below another come in byte order, as many as are asked for."""
    for name in ("acme/b", "acme/a-b", "acme/a/b", "acme/a", "acme0/x", "abc/x"):
        add_repository(held, RepositoryName(name))
    within = held.read(lambda tx: repositories.list_repositories(tx, "acme/", "acme0", 9))
    assert [row.name for row in within] == ["acme/a", "acme/a-b", "acme/a/b", "acme/b"]
    page = held.read(lambda tx: repositories.list_repositories(tx, "acme/a", "\U0010ffff", 2))
    assert [row.name for row in page] == ["acme/a-b", "acme/a/b"]


def test_members_come_and_go(held: Held) -> None:
    """A digest is known to a repository until it is deleted, and again when it is pushed again."""
    known = add_repository(held)
    one = digest(1)
    for _ in range(2):
        held.transact(lambda tx: repositories.put_member(tx, known, one, "blob", NOW))
        assert held.read(lambda tx: repositories.has_member(tx, known, one, "blob"))
        assert not held.read(lambda tx: repositories.has_member(tx, known, one, "manifest"))
        assert held.transact(lambda tx: repositories.delete_member(tx, known, one, "blob", NOW))
        assert not held.transact(lambda tx: repositories.delete_member(tx, known, one, "blob", NOW))
        assert not held.read(lambda tx: repositories.has_member(tx, known, one, "blob"))


def test_homes_of_a_blob(held: Held) -> None:
    """Repositories that know a blob are found, those that deleted it are not, and no more than asked for."""
    homes = [add_repository(held, RepositoryName(f"acme/{name}")) for name in "abc"]
    one = digest(1)
    for home in homes:
        held.transact(partial(repositories.put_member, repository=home, digest=one, kind="blob", now=NOW))
    held.transact(lambda tx: repositories.delete_member(tx, homes[0], one, "blob", NOW))
    assert set(held.read(lambda tx: repositories.find_home(tx, one, 9))) == {"acme/b", "acme/c"}
    assert len(held.read(lambda tx: repositories.find_home(tx, one, 1))) == 1
    assert held.read(lambda tx: repositories.find_home(tx, one, 9, "manifest")) == []


def test_known_content_is_found_in_long_lists(held: Held) -> None:
    """Of many digests, more than one statement asks for, those known, live and sound are found."""
    known, other = add_repository(held), add_repository(held, OTHER)
    wanted = [digest(number) for number in range(450)]

    async def fill(tx: Tx) -> None:
        for number, one in enumerate(wanted):
            await tx.execute("insert into blob (digest, size, created_at) values ($1, 1, 1)", one)
            await repositories.put_member(tx, known if number % 2 else other, one, "blob", NOW)
            await repositories.put_member(tx, known, one, "manifest", NOW)
        await tx.execute("update blob set state = 'damaged' where digest = $1", wanted[1])
        await repositories.delete_member(tx, known, wanted[3], "blob", NOW)

    held.transact(fill)
    blobs = held.read(lambda tx: repositories.list_known(tx, known, [*wanted, *wanted], "blob"))
    assert blobs == set(wanted[1::2]) - {wanted[1], wanted[3]}
    assert held.read(lambda tx: repositories.list_known(tx, known, wanted, "manifest")) == set(wanted)
    assert held.read(lambda tx: repositories.list_known(tx, known, [], "blob")) == set()

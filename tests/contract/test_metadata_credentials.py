"""Rows of secrets and of service accounts, over every engine."""

from __future__ import annotations

import pytest

from entrepot.core.registry import DAY, SECOND
from entrepot.domain.errors import AlreadyExists
from entrepot.domain.secrets import SecretKind
from entrepot.metadata import accounts, credentials, namespaces, policy, services
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.credentials import CredentialRow, NewCredentialRow, ProofRow
from entrepot.metadata.services import ServiceRow
from entrepot.ports.database import Tx
from tests.contract.engines import Held
from tests.contract.rows import NOW


def add_user(held: Held, name: str = "ann") -> int:
    """A user; the id."""
    return held.transact(lambda tx: accounts.add_account(tx, name, "hash", is_admin=False, now=NOW))


def new(account: int, name: str, kind: SecretKind = "pat", until: int | None = None) -> NewCredentialRow:
    """A secret whose fingerprint is its name."""
    return NewCredentialRow(account, kind, name, f"of {account} {name}", "hint", ("pull", "push"), "ann", until)


def add(held: Held, row: NewCredentialRow) -> int:
    """Store a secret; its id."""
    return held.transact(lambda tx: credentials.add_credential(tx, row, NOW))


def get(held: Held, account: int, number: int) -> CredentialRow:
    """A secret that is there."""
    found = held.read(lambda tx: credentials.find_credential(tx, account, number))
    assert found is not None
    return found


def test_a_secret_is_found_by_its_fingerprint(held: Held) -> None:
    """With what a request must know of it and of its account, in one row; another fingerprint is nobody's."""
    ann = add_user(held)
    number = add(held, new(ann, "a", until=NOW + 5))
    found = held.read(lambda tx: credentials.find_proof(tx, f"of {ann} a"))
    assert found == ProofRow(number, "pat", '["pull","push"]', NOW, NOW + 5, None, ann, "ann", 0, NOW)
    assert held.read(lambda tx: credentials.find_proof(tx, "of nobody")) is None
    with pytest.raises(AlreadyExists):
        add(held, new(ann, "a"))


def test_secrets_are_shown_to_their_account(held: Held) -> None:
    """As they were stored, in pages by id, and never those of another account."""
    ann, bob = add_user(held), add_user(held, "bob")
    numbers = [add(held, new(ann, name)) for name in "abc"]
    row = CredentialRow(numbers[0], ann, "pat", "a", "hint", ("pull", "push"), "ann", NOW, None, None, None)
    assert get(held, ann, numbers[0]) == row
    assert held.read(lambda tx: credentials.find_credential(tx, bob, numbers[0])) is None
    page = held.read(lambda tx: credentials.list_credentials(tx, ann, numbers[0], 1))
    assert [each.name for each in page] == ["b"]
    assert held.read(lambda tx: credentials.list_credentials(tx, bob, 0, 9)) == []


def test_names_in_use(held: Held) -> None:
    """Those of one kind that have neither expired nor been revoked."""
    ann = add_user(held)
    add(held, new(ann, "for ever"))
    add(held, new(ann, "today", until=NOW + 1))
    add(held, new(ann, "yesterday", until=NOW))
    add(held, new(ann, "login", "tmp"))
    assert held.read(lambda tx: credentials.list_live_names(tx, ann, "pat", NOW)) == ["for ever", "today"]
    assert held.read(lambda tx: credentials.count_live(tx, NOW, 100)) == {"pat": 2, "tmp": 1}
    assert sum(held.read(lambda tx: credentials.count_live(tx, NOW, 2)).values()) == 2


def test_a_secret_is_revoked_with_its_login_passwords(held: Held) -> None:
    """Once, with those that were asked for with it and no others."""
    ann, bob = add_user(held), add_user(held, "bob")
    parent = get(held, ann, add(held, new(ann, "a")))
    child, other = add(held, new(ann, "child", "tmp")), add(held, new(ann, "other", "tmp"))
    strange = add(held, new(bob, "child", "tmp"))
    assert held.transact(lambda tx: credentials.revoke_credential(tx, parent, "child", NOW)) == 2
    assert held.transact(lambda tx: credentials.revoke_credential(tx, parent, "child", NOW + 1)) == 0
    assert [get(held, ann, number).revoked_at for number in (parent.id, child, other)] == [NOW, NOW, None]
    assert get(held, bob, strange).revoked_at is None


def test_the_policy_holds_the_revocations_of_a_day(held: Held) -> None:
    """Counted back from the newest one, whatever the clock says; older ones have no tokens left."""
    ann = add_user(held)
    assert held.read(policy.get_policy).revoked == frozenset()
    rows = [get(held, ann, add(held, new(ann, name))) for name in "abc"]

    async def revoke(tx: Tx) -> None:
        for row, at in zip(rows, (NOW, NOW + DAY, NOW + DAY + SECOND), strict=True):
            await credentials.revoke_credential(tx, row, "", at)

    held.transact(revoke)
    assert held.read(policy.get_policy).revoked == {rows[1].id, rows[2].id}


def test_uses_are_noted(held: Held) -> None:
    """The latest time counts, and one that is hardly later is not worth a write."""
    ann = add_user(held)
    first, second = add(held, new(ann, "a")), add(held, new(ann, "b"))
    for uses in ({first: NOW, 999: NOW}, {first: NOW + 59, second: NOW + 60}, {second: NOW + 10}):
        held.transact(lambda tx, uses=uses: credentials.note_uses(tx, uses, 60))  # type: ignore[misc]
    assert (get(held, ann, first).used_at, get(held, ann, second).used_at) == (NOW, NOW + 60)
    held.transact(lambda tx: credentials.note_uses(tx, {first: NOW + 61}, 60))
    assert get(held, ann, first).used_at == NOW + 61


def test_ended_secrets_are_deleted_in_batches(held: Held) -> None:
    """Those that expired or were revoked before a time, by id; others stay."""
    ann = add_user(held)
    old, live, revoked = add(held, new(ann, "a", until=NOW)), add(held, new(ann, "b")), add(held, new(ann, "c"))
    fresh = add(held, new(ann, "d", until=NOW + 1))
    row = get(held, ann, revoked)
    held.transact(lambda tx: credentials.revoke_credential(tx, row, "", NOW))
    assert held.transact(lambda tx: credentials.delete_ended(tx, NOW + 1, 0, 1)) == old
    assert held.transact(lambda tx: credentials.delete_ended(tx, NOW + 1, old, 9)) == revoked
    assert held.transact(lambda tx: credentials.delete_ended(tx, NOW + 1, revoked, 9)) is None
    left = held.read(lambda tx: credentials.list_credentials(tx, ann, 0, 9))
    assert [each.id for each in left] == [live, fresh]


def test_service_accounts(held: Held) -> None:
    """Found and listed with their home, in a span of names; users are none; what changes is stored."""
    held.transact(lambda tx: namespaces.add_namespace(tx, "acme", None, "private", NOW))
    ((home,),) = held.rows("select id from namespace where name = 'acme'")
    for name, where in (("robot$acme+b", home), ("robot$acme+a", home), ("robot$acme", None), ("robot$z+a", home)):
        held.transact(lambda tx, n=name, h=where: accounts.add_faceless(tx, Faceless(n, "service", h), NOW))  # type: ignore[misc]
    add_user(held, "robot$acme+user")
    found = held.read(lambda tx: services.find_service(tx, "robot$acme+a"))
    assert found is not None
    assert found == ServiceRow(found.id, "robot$acme+a", "acme", "", is_disabled=False, created_at=NOW)
    assert held.read(lambda tx: services.find_service(tx, "robot$acme+user")) is None
    page = held.read(lambda tx: services.list_services(tx, ("robot$acme+", "robot$acme,"), 9))
    assert [row.name for row in page] == ["robot$acme+a", "robot$acme+b"]
    every = held.read(lambda tx: services.list_services(tx, ("robot$", "robot%"), 9))
    assert [row.namespace for row in every] == [None, "acme", "acme", "acme"]
    changed = ServiceRow(found.id, found.name, "acme", "builds", is_disabled=True, created_at=NOW, certificate="ci")
    held.transact(lambda tx: services.set_service(tx, changed))
    assert held.read(lambda tx: services.find_service(tx, "robot$acme+a")) == changed
    holders = [held.read(lambda tx, n=name: services.find_holder(tx, n)) for name in ("ci", "other", "")]  # type: ignore[misc]
    assert holders == ["robot$acme+a", None, None]
    assert held.read(policy.get_policy).certificates == {"ci": found.id}
    held.transact(lambda tx: accounts.remove_account(tx, found.id))
    assert held.read(lambda tx: services.find_service(tx, "robot$acme+a")) is None

"""Rows of issuers, rules and taken tokens, over every engine."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from entrepot.domain.errors import AlreadyExists
from entrepot.domain.federation import Issuer, Rule
from entrepot.metadata import accounts, federation
from entrepot.metadata.accounts import Faceless
from tests.contract.engines import Held
from tests.contract.rows import NOW

GITHUB = Issuer(
    0, "github", "oidc", "https://github.example", ("registry.test",), (), "{}", is_reusable=True, created_at=NOW
)
AWS = Issuer(0, "aws", "aws", "https://sts.{region}.amazonaws.com", ("a", "b"), ("us-east-1",), created_at=NOW)


def add(held: Held, issuer: Issuer) -> Issuer:
    """Add an issuer; it as stored."""
    held.transact(lambda tx: federation.add_issuer(tx, issuer))
    found = held.read(lambda tx: federation.find_issuer(tx, issuer.name))
    assert found is not None
    return found


def test_issuers(held: Held) -> None:
    """Found by name and by URL as they were added, listed in pages, each name and URL taken once."""
    github, aws = add(held, GITHUB), add(held, AWS)
    assert (github, aws) == (msgspec.structs.replace(GITHUB, id=github.id), msgspec.structs.replace(AWS, id=aws.id))
    assert held.read(lambda tx: federation.find_issuer_of(tx, GITHUB.url)) == github
    assert held.read(lambda tx: federation.find_issuer_of(tx, AWS.url)) is None
    assert held.read(lambda tx: federation.find_issuer(tx, "other")) is None
    assert held.read(lambda tx: federation.list_issuers(tx, "", 9)) == [aws, github]
    assert held.read(lambda tx: federation.list_issuers(tx, "aws", 1)) == [github]
    assert held.read(lambda tx: federation.list_issuers_of(tx, "aws")) == [aws]
    for again in (GITHUB, msgspec.structs.replace(GITHUB, name="other")):
        with pytest.raises(AlreadyExists):
            held.transact(partial(federation.add_issuer, new=again))


def test_issuers_change_and_go(held: Held) -> None:
    """All but name, kind and URL changes; a disabled one is found and not listed for use; with it go its rules."""
    found = add(held, AWS)
    changed = msgspec.structs.replace(
        found, audiences=("c",), regions=("eu-west-1",), jwks="x", is_reusable=True, is_enabled=False
    )
    held.transact(lambda tx: federation.set_issuer(tx, changed))
    assert held.read(lambda tx: federation.find_issuer(tx, "aws")) == changed
    assert held.read(lambda tx: federation.list_issuers_of(tx, "aws")) == []
    rule = rule_of(held)
    held.transact(lambda tx: federation.put_rule(tx, found.id, rule))
    held.transact(lambda tx: federation.remove_issuer(tx, found.id))
    assert held.read(lambda tx: federation.find_issuer(tx, "aws")) is None
    assert held.rows("select id from federation_rule") == []


def rule_of(held: Held, name: str = "main", account: str = "ci") -> Rule:
    """A rule that acts as an account, which is made for it."""
    known = held.read(lambda tx: accounts.find_account(tx, account))
    made = known.id if known else held.transact(lambda tx: accounts.add_faceless(tx, Faceless(account, "service"), NOW))
    return Rule(0, "aws", name, {"arn": ("x", "y*")}, made, account, ("repository:a/*:pull",), created_at=NOW)


def test_rules(held: Held) -> None:
    """Found and listed by name as they were kept; the same name again replaces; an account takes its rules with it."""
    issuer = add(held, AWS)
    first, second = rule_of(held), rule_of(held, "all", "other")
    for each in (first, second):
        held.transact(partial(federation.put_rule, issuer=issuer.id, rule=each))
    found = held.read(lambda tx: federation.find_rule(tx, issuer.id, "main"))
    assert found is not None
    assert found == msgspec.structs.replace(first, id=found.id)
    assert held.read(lambda tx: federation.find_rule_as(tx, first.account)) == found
    assert held.read(lambda tx: federation.find_rule_as(tx, -1)) is None
    assert [each.name for each in held.read(lambda tx: federation.list_rules(tx, issuer.id))] == ["all", "main"]
    assert [each.name for each in held.read(lambda tx: federation.list_rules(tx, issuer.id, "all", 5))] == ["main"]
    changed = msgspec.structs.replace(first, scopes=("repository:b:pull",), conditions={}, is_enabled=False)
    held.transact(lambda tx: federation.put_rule(tx, issuer.id, changed))
    again = held.read(lambda tx: federation.find_rule(tx, issuer.id, "main"))
    assert again == msgspec.structs.replace(changed, id=found.id)
    held.transact(lambda tx: federation.remove_rule(tx, found.id))
    assert held.read(lambda tx: federation.find_rule(tx, issuer.id, "main")) is None
    held.transact(lambda tx: accounts.remove_account(tx, second.account))
    assert held.read(lambda tx: federation.list_rules(tx, issuer.id)) == []


def test_a_token_is_taken_once(held: Held) -> None:
    """However many try at once; what is over is swept, a few at a time."""
    works = [partial(federation.take_once, fingerprint="f", until=NOW + 9, now=NOW) for _ in range(8)]
    assert sorted(held.together(list(works))) == [False] * 7 + [True]
    assert not held.transact(lambda tx: federation.take_once(tx, "f", NOW + 9, NOW + 9))
    assert held.transact(lambda tx: federation.take_once(tx, "f", NOW + 99, NOW + 10))
    for number in range(30):
        held.execute("insert into federation_use (fingerprint, until) values ($1, $2)", f"old-{number}", NOW)
    held.transact(lambda tx: federation.take_once(tx, "g", NOW + 99, NOW + 10))
    assert len(held.rows("select fingerprint from federation_use")) == 2 + 30 - federation.SWEPT

"""Records and chains of the audit log, without a database."""

from __future__ import annotations

import msgspec
import pytest

from entrepot.domain.audit import (
    By,
    Category,
    Filter,
    Head,
    Linked,
    Run,
    check_chain,
    hash_of,
    new_record,
    plain_name,
    problem_of,
    runs_of,
)

AT = 1_790_000_000_000_000
RECORD = new_record(Category.CHANGE, "tag.moved", AT, ("alice", By(7, "192.0.2.1", "password")), "acme/app")


def test_a_hash_is_of_every_field() -> None:
    """Whatever field is another one, the hash is another one; so it is in another place."""
    hashes = {hash_of(RECORD, "a", 1, ""), hash_of(RECORD, "b", 1, ""), hash_of(RECORD, "a", 2, "")}
    hashes.add(hash_of(RECORD, "a", 1, "x"))
    for name, value in msgspec.structs.asdict(RECORD).items():
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else (*value, "x")
        other = f"{value}x" if isinstance(value, str) else other
        hashes.add(hash_of(msgspec.structs.replace(RECORD, **{name: other}), "a", 1, ""))
    assert len(hashes) == 4 + len(msgspec.structs.fields(RECORD))


def test_a_hash_stays_what_it_is() -> None:
    """Logs that were written long ago verify: this value is never to change."""
    assert hash_of(RECORD, "a", 1, "") == "c371fe50c01c83fa58774fa01426fbe801d14abdfc02626a2e9c171461336809"


@pytest.mark.parametrize(
    ("category", "action", "subject", "namespace"),
    [
        ("change", "tag.moved", "acme/app", "acme"),
        ("change", "namespace.created", "acme", "acme"),
        ("denial", "push", "acme/app:v1", "acme"),
        ("pull", "pull", "acme/app", "acme"),
        ("change", "user.created", "acme", ""),
        ("change", "organisation.created", "acme", ""),
        ("change", "blob.damaged", "sha256:0", ""),
        ("sign-in", "sign-in", "", ""),
    ],
)
def test_owners_read_what_is_about_their_namespace(
    category: Category, action: str, subject: str, namespace: str
) -> None:
    """Only what is about a namespace has one; users and organisations of the same name are something else."""
    assert new_record(category, action, AT, subject=subject).namespace == namespace


@pytest.mark.parametrize(
    ("runs", "problems"),
    [
        ([("", 1, 2, "b"), ("b", 3, 4, "d")], []),
        ([("b", 3, 4, "d"), ("", 1, 2, "b")], []),
        ([("b", 3, 4, "d")], ["the records up to 2 are gone"]),
        ([("", 1, 2, "b"), ("c", 4, 4, "d")], ["the record is gone"]),
        ([("", 1, 2, "b"), ("x", 3, 4, "d")], ["it does not follow the record before it: one was exchanged"]),
        ([("", 1, 2, "b"), ("a", 2, 4, "d")], ["there are two records in this place: one was put in"]),
        ([("", 1, 2, "b")], ["the records up to 4 are gone"]),
        ([("", 1, 6, "f")], ["there are more records than were written"]),
        ([], ["the records up to 4 are gone"]),
    ],
)
def test_a_chain_is_whole_or_it_is_told(runs: list[tuple[str, int, int, str]], problems: list[str]) -> None:
    """Gaps, doubles, breaks and both ends of a chain of four records."""
    made = [Run("a", first, previous, last, end) for previous, first, last, end in runs]
    assert [each.problem for each in check_chain(Head("a", 4, "d"), 5, made)] == problems


def test_records_make_stretches() -> None:
    """Whatever their order; a break begins another one."""
    first = Linked(1, RECORD, "a", 1, "", "one")
    second = Linked(2, RECORD, "a", 2, "one", "two")
    third = Linked(3, RECORD, "a", 3, "other", "three")
    assert runs_of([third, second, first]) == (Run("a", 1, "", 2, "two"), Run("a", 3, "other", 3, "three"))


def test_a_record_that_is_filed_elsewhere_is_told() -> None:
    """Its hash is right, and it would still not be found under its day."""
    linked = Linked(1, RECORD, "a", 1, "", hash_of(RECORD, "a", 1, ""))
    assert problem_of(linked) == ""
    assert "filed" in problem_of(msgspec.structs.replace(linked, is_filed=False))


def test_what_is_no_name_is_not_kept() -> None:
    """A password that was typed as a user name is not written down, as far as that can be told."""
    assert plain_name("robot$acme+ci") == "robot$acme+ci"
    assert [plain_name(text) for text in ("correct horse", "a" * 129, "pass!word", "")] == [""] * 4


@pytest.mark.parametrize(
    ("wanted", "is_admitted"),
    [
        (Filter(), True),
        (Filter(actor="alice", action="tag.moved", category="change", namespace="acme", address="192.0.2.1"), True),
        (Filter(actor="bob"), False),
        (Filter(action="pull"), False),
        (Filter(category="pull"), False),
        (Filter(namespace="other"), False),
        (Filter(address="192.0.2.2"), False),
        (Filter(subject="acme/"), True),
        (Filter(subject="acme/b"), False),
        (Filter(is_allowed=True), True),
        (Filter(is_allowed=False), False),
        (Filter(since=AT, until=AT + 1), True),
        (Filter(since=AT + 1), False),
        (Filter(until=AT), False),
    ],
)
def test_filters(wanted: Filter, is_admitted: bool) -> None:
    """Each field narrows by itself."""
    assert wanted.admits(RECORD) is is_admitted

"""Which of the names in a certificate counts."""

from __future__ import annotations

import pytest

from entrepot.domain.certificates import LONGEST, Names, choose_name, is_name

SPIFFE = "spiffe://acme/ns/ci"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (Names((SPIFFE, "https://x"), ("h",), ("a@b",), ("cn",)), SPIFFE),
        (Names((), ("build-7.acme.internal", "other"), ("a@b",), ("cn",)), "build-7.acme.internal"),
        (Names((), (), ("ci@acme.example",), ("cn",)), "ci@acme.example"),
        (Names(common=("Build machine 7",)), "Build machine 7"),
        (Names(), ""),
        (Names(common=("one", "two")), ""),
        (Names(common=(SPIFFE,)), ""),
        (Names(common=("ci@acme.example",)), ""),
        (Names(common=("a\nb",)), ""),
        (Names(("no uri",), (), (), ("cn",)), ""),
        (Names((), ("a/b",)), ""),
        (Names((), (), ("nobody",)), ""),
        (Names((f"spiffe://{'x' * LONGEST}",)), ""),
    ],
)
def test_the_name_that_counts(names: Names, expected: str) -> None:
    """URI, host, mailbox, and only without these a common name, which cannot look like one of them."""
    assert choose_name(names) == expected


def test_what_a_certificate_can_be_called() -> None:
    """What is said of an account is what could be in a certificate."""
    assert all(is_name(name) for name in (SPIFFE, "build-7.acme.internal", "ci@acme.example", "Build machine 7"))
    assert not any(is_name(name) for name in ("", "a\tb", "a/b", "x" * (LONGEST + 1)))

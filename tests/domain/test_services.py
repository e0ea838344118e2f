"""Names of service accounts."""

from __future__ import annotations

import pytest

from entrepot.domain.errors import AccountUnknown, NameInvalid
from entrepot.domain.services import LONGEST_SERVICE, ServiceName, parse_service_name, require_service_name


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ("robot$ci", ServiceName("ci")),
        ("robot$acme+ci", ServiceName("ci", "acme")),
        ("robot$acme-dev+build.x", ServiceName("build.x", "acme-dev")),
    ],
)
def test_names_as_harbor_writes_them(account: str, expected: ServiceName) -> None:
    """Registry and namespace level are told apart by the name, and written again the same."""
    assert parse_service_name(account) == expected
    assert str(expected) == account


@pytest.mark.parametrize(
    "account", ["", "ci", "robot$", "robot$+ci", "robot$acme+", "robot$CI", "robot$a+b+c", "robot$a b", "robot$a\0"]
)
def test_other_names_are_nobody(account: str) -> None:
    """What no service account can be called is not there."""
    with pytest.raises(AccountUnknown):
        parse_service_name(account)


def test_own_names() -> None:
    """They have the grammar of namespaces, and the longest pair fits."""
    assert require_service_name("ci-2.x") == "ci-2.x"
    assert len(str(ServiceName("a" * 63, "b" * 63))) == LONGEST_SERVICE
    for name in ("", "CI", "a+b", "a$b", "-a", "a" * 64):
        with pytest.raises(NameInvalid):
            require_service_name(name)

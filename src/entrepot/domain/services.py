"""Names of service accounts, as Harbor writes its robots: `robot$ci`, and `robot$acme+ci` in a namespace."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.domain.errors import AccountUnknown, NameInvalid
from entrepot.domain.names import LONGEST_NAMESPACE, NAMESPACE

PREFIX: Final = "robot$"
LONGEST_SERVICE: Final = len(PREFIX) + LONGEST_NAMESPACE + 1 + LONGEST_NAMESPACE


class ServiceName(msgspec.Struct, frozen=True):
    """A service account: its own name, and the namespace that it belongs to, "" for the registry itself."""

    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """The name of the account, by which it logs in."""
        return f"{PREFIX}{self.namespace}+{self.name}" if self.namespace else f"{PREFIX}{self.name}"


def require_service_name(name: str) -> str:
    """The own part of a new service account's name. Raises NameInvalid."""
    if len(name) > LONGEST_NAMESPACE or not NAMESPACE.fullmatch(name):
        raise NameInvalid(
            f"a service account is at most {LONGEST_NAMESPACE} lower-case letters and digits, "
            "single . _ or - between them",
            field="name",
            name=name[:LONGEST_NAMESPACE],
        )
    return name


def parse_service_name(account: str) -> ServiceName:
    """What the name of an account says. Raises AccountUnknown where no service account can have it."""
    namespace, plus, name = account.removeprefix(PREFIX).rpartition("+")
    parts = [namespace, name] if plus else [name]
    if not account.startswith(PREFIX) or not all(NAMESPACE.fullmatch(part) for part in parts):
        raise unknown_service(account)
    return ServiceName(name, namespace)


def unknown_service(account: str) -> AccountUnknown:
    """The same words whatever the reason."""
    return AccountUnknown("there is no such service account", account=account[:LONGEST_SERVICE])

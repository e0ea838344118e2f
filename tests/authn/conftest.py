"""What tests of the directory ask for: Debian's slapd, and the adapter that talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import pytest

from entrepot.authn.ldap import LdapDirectory, LdapOptions
from tests.support.slapd import BASE, GROUPS, READER, READER_PASSWORD, Slapd

T = TypeVar("T")


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    """One directory for the tests of a file that leave it as they found it."""
    with Slapd() as slapd:
        yield slapd


@pytest.fixture
def own_slapd() -> Iterator[Slapd]:
    """A directory of its own for a test that changes, stops or pauses it."""
    with Slapd() as slapd:
        yield slapd


class Asker:
    """The adapter with a clock that stands still, on a loop of its own."""

    def __init__(self, slapd: Slapd, **changes: Any) -> None:
        self.seconds = 0.0
        settings: dict[str, Any] = {
            "urls": (slapd.url,),
            "bind_dn": READER,
            "bind_password": READER_PASSWORD,
            "base": BASE,
            "user_filter": "(&(objectClass=inetOrgPerson)(|(uid={name})(mail={name})))",
            "name_attribute": "uid",
            "email_attribute": "mail",
            "member_attribute": "memberOf",
            "group_base": GROUPS,
            "group_filter": "(&(objectClass=posixGroup)(memberUid={name}))",
            "ca": str(slapd.authority.ca),
            "timeout_seconds": 10.0,
        }
        self.runner = asyncio.Runner()
        self.directory = LdapDirectory(LdapOptions(**{**settings, **changes}), lambda: self.seconds)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.run(self.directory.close())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        """Wait for an answer."""

        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    def log_in(self, name: str, password: str = "") -> str:
        """The name of whoever this is, empty for nobody; the password is that of `slapd.person` unless given."""
        found = self.run(self.directory.log_in(name, password or f"{name.lower()}-secret"))
        return found.name if found else ""

    def groups(self, name: str) -> set[str]:
        """The plain names of the groups that somebody is in."""
        return {group.name for group in self.run(self.directory.find([name]))[name].groups}

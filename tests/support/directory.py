"""A directory in memory, an organisation whose teams its groups stand for, and what tests look at afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from entrepot.core.directory import check_accounts
from entrepot.domain.directory import Group, Person, group_key
from entrepot.domain.errors import Unavailable
from entrepot.metadata import accounts, policy, team_groups
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.team_groups import TeamGroupRow
from entrepot.ports.database import Tx
from tests.support.world import World

AWAY = "the directory is away"
DEVS, OPS = "cn=devs,ou=groups,dc=example,dc=org", "cn=ops,ou=groups,dc=example,dc=org"


class FakeDirectory:
    """The port Directory over a dictionary; the password of everybody is `NAME-secret`."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.asked: list[str] = []
        self.is_away = False

    def put(self, name: str, *groups: str, number: str = "", is_disabled: bool = False) -> None:
        """Somebody is in exactly these groups."""
        held = tuple(Group(dn, dn.partition(",")[0].removeprefix("cn=")) for dn in groups)
        self.people[name] = Person(name, f"uid={name}", f"{name}@example.org", held, number, is_disabled)

    async def log_in(self, name: str, password: str) -> Person | None:
        self._ask(name)
        person = self.people.get(name.lower())
        return person if person is not None and password == secret_of(name) else None

    async def find(self, names: Sequence[str]) -> dict[str, Person]:
        self._ask(*names)
        return {name: self.people[name] for name in names if name in self.people}

    def away(self) -> Mapping[str, str]:
        return {"ldap://fake": AWAY} if self.is_away else {}

    async def close(self) -> None:
        self.is_away = True

    def _ask(self, *names: str) -> None:
        self.asked += names
        if self.is_away:
            raise Unavailable(AWAY, reasons=["it does not answer"])


def secret_of(name: str) -> str:
    """The password of somebody in the directory."""
    return f"{name.lower()}-secret"


def add_teams(world: World) -> dict[str, int]:
    """The organisation `acme` with the teams `devs` and `ops`, for which the groups `devs` and `OPS` stand."""
    made: dict[str, int] = {}

    async def record(tx: Tx) -> None:
        now = world.clock.now()
        made["acme"] = await accounts.add_faceless(tx, Faceless("acme", "organisation"), now)
        for name, group in (("devs", "CN=Devs, ou=groups, dc=example, dc=org"), ("ops", "OPS")):
            row = await tx.one(
                "insert into team (organisation, name, created_at) values ($1, $2, $3) returning id",
                made["acme"],
                name,
                now,
            )
            made[name] = row[0] if row else 0
            await team_groups.add_team_group(tx, made[name], TeamGroupRow(group_key(group), group, "admin", now))
        await policy.bump_policy_version(tx)

    world.transact(record)
    return made


def check(world: World) -> None:
    """Let the job look at the directory."""
    world.run(check_accounts(world.registry))


def memberships(world: World, name: str) -> list[tuple[str, str]]:
    """(team, source) of somebody, and (organisation, source) after them."""
    teams = world.rows(
        "select t.name, m.source from team_member m join team t on t.id = m.team join account a on a.id = m.account "
        "where a.name = $1 order by t.name",
        name,
    )
    organisations = world.rows(
        "select o.name, m.source from organisation_member m join account o on o.id = m.organisation "
        "join account a on a.id = m.account where a.name = $1 order by o.name",
        name,
    )
    return [(row[0], row[1]) for row in [*teams, *organisations]]


def events(world: World, *kinds: str) -> list[tuple[str, str, Any]]:
    """(kind, subject, detail) of every event of these kinds that the directory caused, the oldest first."""
    rows = world.rows("select kind, subject, detail from event where actor = 'ldap:directory' order by id")
    return [(kind, subject, json.loads(detail)) for kind, subject, detail in rows if not kinds or kind in kinds]

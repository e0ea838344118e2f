"""Grants: who (a subject) may or may not do what (actions) where (a resource, perhaps tags), on which conditions."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from entrepot.domain.access import ADMITS, Action, Origin
from entrepot.domain.networks import Networks, parse_address
from entrepot.domain.patterns import matches

SubjectKind = Literal["account", "team", "everyone", "signed-in"]
Effect = Literal["allow", "deny"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_READER: Final = ADMITS["pull"]
_WRITER: Final = _READER | ADMITS["push"]
_MAINTAINER: Final = _WRITER | ADMITS["delete"] | {Action.POLICY_WRITE}
_OWNER: Final = _MAINTAINER | {Action.REPOSITORY_ADMIN, Action.NAMESPACE_ADMIN}

# Each has what the one before it has.
ROLES: Final[dict[str, frozenset[Action]]] = {
    "reader": _READER,
    "writer": _WRITER,
    "maintainer": _MAINTAINER,
    "owner": _OWNER,
}
GRANTABLE: Final = _OWNER | {Action.NAMESPACE_CREATE}
# What a deny never takes from whoever owns the namespace or administers the instance: they could not undo it.
UNDENIABLE: Final = frozenset({Action.ADMIN, Action.NAMESPACE_ADMIN, Action.REPOSITORY_ADMIN})
# What of a request each condition asks about.
ASKS: Final[dict[str, str]] = {
    "networks": "address",
    "not_networks": "address",
    "clients": "client",
    "listeners": "listener",
    "not_before": "now",
    "not_after": "now",
    "days": "now",
    "hours": "now",
}
# What a grant for certain tags is about; the rest of a push has no tag yet.
OF_TAGS: Final = frozenset({Action.TAG_CREATE, Action.TAG_MOVE, Action.TAG_DELETE})

Subject = tuple[SubjectKind, int]
EVERYONE: Final[Subject] = ("everyone", 0)
SIGNED_IN: Final[Subject] = ("signed-in", 0)


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time of day from and to (`08:00`, `18:30`; over midnight where `to` is earlier), in a time zone (IANA)."""

    start: str
    end: str
    zone: str = "UTC"


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must hold besides; all that are given. Networks are CIDR, times RFC 3339.

    `networks` are those to come from, `not_networks` those not to come from.
    """

    networks: tuple[str, ...] = ()
    not_networks: tuple[str, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    days: tuple[Day, ...] = ()
    hours: Hours | None = None
    clients: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()

    def unmet(self, origin: Origin) -> str:
        """Why they do not hold for a request, or nothing if they do."""
        failing = self._failing(origin)
        if not failing:
            return ""
        term = self.terms()[failing]
        if ASKS[failing] == "address":
            return f"{term}, and this came from {origin.address or 'an unknown address'}"
        return term

    def terms(self) -> dict[str, str]:
        """Each condition that is given, in words."""
        zone, hours = self._zone(), self.hours
        terms = {
            "networks": f"only from {', '.join(self.networks)}",
            "not_networks": f"not from {', '.join(self.not_networks)}",
            "clients": f"only for the client certificates {', '.join(self.clients)}",
            "listeners": f"only on the listeners {', '.join(self.listeners)}",
            "not_before": f"only from {self.not_before.isoformat()} on" if self.not_before else "",
            "not_after": f"only until {self.not_after.isoformat()}" if self.not_after else "",
            "days": f"only on {', '.join(self.days)} ({zone})",
            "hours": f"only from {hours.start} to {hours.end} ({zone})" if hours else "",
        }
        return {name: term for name, term in terms.items() if getattr(self, name)}

    def only(self, names: AbstractSet[str]) -> Conditions:
        """Those of these names, without the others."""
        return Conditions(**{name: getattr(self, name) for name in ASKS if name in names})

    def is_blind(self, origin: Origin) -> bool:
        """Whether they ask about an address that nobody knows, so that a denial had better hold."""
        return bool(self.networks or self.not_networks) and parse_address(origin.address) is None

    def _failing(self, origin: Origin) -> str:
        if self.networks and not _networks(self.networks).holds(origin.address):
            return "networks"
        if self.not_networks and (self.is_blind(origin) or _networks(self.not_networks).holds(origin.address)):
            return "not_networks"
        if self.clients and not any(matches(pattern, origin.client) for pattern in self.clients):
            return "clients"
        if self.listeners and origin.listener not in self.listeners:
            return "listeners"
        return self._untimely(origin)

    def _untimely(self, origin: Origin) -> str:
        now = datetime.fromtimestamp(origin.now / 1_000_000, UTC)
        if self.not_before is not None and now < self.not_before:
            return "not_before"
        if self.not_after is not None and now >= self.not_after:
            return "not_after"
        local = now.astimezone(_zone(self._zone()))
        if self.days and DAYS[local.weekday()] not in self.days:
            return "days"
        if self.hours is not None and not _is_between(self.hours, local.strftime("%H:%M")):
            return "hours"
        return ""

    def _zone(self) -> str:
        return self.hours.zone if self.hours else "UTC"


class Grant(msgspec.Struct, frozen=True):
    """One grant as decisions read it. `title` is what people call it: a role, or its actions."""

    id: int
    subject: Subject
    actions: frozenset[Action]
    resource: str
    title: str
    is_deny: bool = False
    tags: str = ""
    conditions: Conditions | None = None

    def covers(self, namespace: str, resource: str) -> bool:
        """Whether its pattern is about this resource, or about all of the namespace that it is in."""
        return matches(self.resource, resource) or matches(self.resource, namespace)

    def fits(self, tag: str) -> bool:
        """Whether it is about this tag, or about none in particular."""
        return not self.tags or (bool(tag) and matches(self.tags, tag))


def _is_between(hours: Hours, moment: str) -> bool:
    if hours.start <= hours.end:
        return hours.start <= moment < hours.end
    return moment >= hours.start or moment < hours.end


@lru_cache(maxsize=4096)
def _networks(texts: tuple[str, ...]) -> Networks:
    return Networks(texts)


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)

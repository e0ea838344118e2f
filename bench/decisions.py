"""How long the one decision takes with many grants on an instance, in this process."""

from __future__ import annotations

import time

from entrepot.core.decide import decide
from entrepot.domain.access import Action, Identity, Origin
from entrepot.domain.grants import ROLES, Conditions, Grant, Subject
from entrepot.domain.policy import AccountPolicy, NamespacePolicy, PolicySnapshot

GRANTS, ACCOUNTS, NAMESPACES = 10_000, 500, 200
INSIDE = Origin("10.0.0.1", 1)


def snapshot() -> PolicySnapshot:
    """Ten thousand grants: on namespaces, repositories and patterns, every second one with a condition."""
    grants: dict[Subject, list[Grant]] = {}
    for number in range(GRANTS):
        namespace = f"ns{number % NAMESPACES}"
        resource = (namespace, f"{namespace}/app{number}", f"{namespace}/team-{number}-*")[number % 3]
        conditions = Conditions(networks=("10.0.0.0/8",)) if number % 2 else None
        subject: Subject = ("account", number % ACCOUNTS + 1)
        grant = Grant(number, subject, ROLES["writer"], resource, "writer", conditions=conditions)
        grants.setdefault(subject, []).append(grant)
    return PolicySnapshot(
        version=1,
        accounts={
            n: AccountPolicy(f"u{n}", is_admin=False, is_disabled=False, credentials_since=0) for n in range(1, 501)
        },
        namespaces={f"ns{n}": NamespacePolicy(None, "private") for n in range(NAMESPACES)},
        grants=grants,
        has_conditions=True,
    )


def decision_microseconds(count: int) -> float:
    """The mean of so many decisions about ever other repositories by ever other people, compiling included."""
    policy = snapshot()
    asked = [(Identity(n % ACCOUNTS + 1, ""), f"ns{n % NAMESPACES}/app{n * 7 % GRANTS}") for n in range(count)]
    began = time.perf_counter()
    for identity, name in asked:
        decide(policy, identity, Action.PUSH, name, INSIDE)
    return (time.perf_counter() - began) / count * 1_000_000

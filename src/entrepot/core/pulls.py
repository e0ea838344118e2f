"""Pulls counted against plans: in this process at each one, and with the other processes through the database.

A process that has not heard of somebody for a second asks the database before it lets them through, one indexed read;
what it has let through it tells each second. So beyond a plan come those pulls that the other processes let through
within the two seconds between, and never more than the plan says by each of them.
Nothing is counted twice: what may have been written and may have not is not written again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from entrepot.core.pull_meter import News, Payer, payer_for
from entrepot.core.registry import Registry
from entrepot.domain.access import Caller
from entrepot.domain.errors import TooMany, Unavailable
from entrepot.domain.networks import network_of
from entrepot.domain.plans import Window
from entrepot.domain.rates import Standing
from entrepot.metadata import plans
from entrepot.ports.database import Tx

BATCH: Final = 500
MOST_KEPT: Final = 1_000_000


def find_payer(registry: Registry, caller: Caller, address: str) -> Payer | None:
    """Who bears what a caller pulls from an address; None where nothing limits it."""
    snapshot, identity = registry.policy.snapshot, caller.identity
    if snapshot.plans is None or registry.pulls.is_exempt(address):
        return None
    if identity is None:
        return payer_for(0, network_of(address), snapshot.plans.anonymous)
    account = snapshot.payer_of(identity)
    policy = snapshot.accounts.get(account)
    return payer_for(account, policy.name if policy else identity.name, snapshot.plan_of(account))


async def count_pull(registry: Registry, payer: Payer) -> Standing:
    """Where somebody stands after one more pull. Raises TooMany, which counts for nothing."""
    await hear(registry, payer)
    try:
        return registry.pulls.take(payer, registry.clock.now())
    except TooMany:
        registry.lockouts.count("plan.identity" if payer.account else "plan.anonymous")
        raise


async def hear(registry: Registry, payer: Payer) -> None:
    """Learn what all processes have let somebody pull, unless that was heard within the last second."""
    meter, now = registry.pulls, registry.clock.now()
    if not meter.is_due(payer, now):
        return
    # What this process knows by itself will do while the database is away.
    with suppress(Unavailable):
        row = await registry.database.read(lambda tx: plans.find_window(tx, payer.key))
        meter.learn(payer.key, row, payer.plan.window, registry.clock.now())


async def find_standing(registry: Registry, payer: Payer) -> Standing:
    """Where somebody stands, without a pull."""
    await hear(registry, payer)
    return registry.pulls.look(payer, registry.clock.now())


async def exchange_pulls(registry: Registry) -> None:
    """Tell the other processes what this one has let through. Raises Unavailable, after which they never hear of it."""
    news = registry.pulls.take_unsent(registry.clock.now())
    for start in range(0, len(news), BATCH):
        batch = news[start : start + BATCH]

        async def record(tx: Tx, batch: list[News] = batch) -> list[Window]:
            return [await plans.add_pulls(tx, each.key, each.window, each.length) for each in batch]

        # A second of pulls that a power cut forgets is nobody's loss.
        rows = await registry.database.transact(record, durable=False)
        for each, row in zip(batch, rows, strict=True):
            registry.pulls.learn(each.key, row, each.length, registry.clock.now())


async def expire_windows(registry: Registry) -> int:
    """Forget windows that are over, and all but the last million; how many rows."""
    newest = await registry.database.read(lambda tx: plans.find_end_of(tx, MOST_KEPT))
    before, total = max(registry.clock.now(), newest), 0
    while gone := await registry.database.transact(lambda tx: plans.remove_windows(tx, before, BATCH)):
        total += gone
    return total

"""Rows of plans, of the accounts that have one, and of what was pulled within a window."""

from __future__ import annotations

import msgspec

from entrepot.domain.plans import Plan, PlanBook, Window
from entrepot.ports.database import Row, Tx

_PLAN = "select name, pulls, window_seconds, for_anonymous, for_signed_in from plan"


class PlanRow(msgspec.Struct, frozen=True):
    """A plan, and for whom it is where nothing else was assigned."""

    plan: Plan
    is_for_anonymous: bool = False
    is_for_signed_in: bool = False


async def list_plans(tx: Tx, after: str, limit: int) -> list[PlanRow]:
    """Plans by name, a page after `after`."""
    return [_row(row) for row in await tx.all(f"{_PLAN} where name > $1 order by name limit $2", after, limit)]


async def find_plan(tx: Tx, name: str) -> PlanRow | None:
    """A plan by name."""
    row = await tx.one(f"{_PLAN} where name = $1", name)
    return None if row is None else _row(row)


async def put_plan(tx: Tx, row: PlanRow) -> None:
    """A plan as it is from now on; whatever it is for is taken from the plan that was for it."""
    if row.is_for_anonymous:
        await tx.execute("update plan set for_anonymous = 0 where for_anonymous = 1")
    if row.is_for_signed_in:
        await tx.execute("update plan set for_signed_in = 0 where for_signed_in = 1")
    await tx.execute(
        "insert into plan (name, pulls, window_seconds, for_anonymous, for_signed_in) values ($1, $2, $3, $4, $5) "
        "on conflict (name) do update set pulls = $2, window_seconds = $3, for_anonymous = $4, for_signed_in = $5",
        row.plan.name,
        row.plan.pulls,
        row.plan.window_seconds,
        int(row.is_for_anonymous),
        int(row.is_for_signed_in),
    )


async def remove_plan(tx: Tx, name: str) -> None:
    """Forget a plan that nobody has."""
    await tx.execute("delete from plan where name = $1", name)


async def count_holders(tx: Tx, name: str) -> int:
    """How many accounts were assigned a plan."""
    row = await tx.one("select count(*) from account where plan = $1", name)
    return int(row[0]) if row else 0


async def find_assigned(tx: Tx, account: int) -> str | None:
    """The name of the plan that an account was assigned."""
    row = await tx.one("select plan from account where id = $1", account)
    return row[0] if row else None


async def set_assigned(tx: Tx, account: int, plan: str | None) -> None:
    """Assign a plan to an account, or none."""
    await tx.execute("update account set plan = $1 where id = $2", plan, account)


async def list_assigned(tx: Tx, limit: int) -> list[tuple[str, str]]:
    """(account, plan) of those that were assigned one, by name."""
    sql = "select name, plan from account where plan is not null order by name limit $1"
    return [(row[0], row[1]) for row in await tx.all(sql, limit)]


async def get_book(tx: Tx) -> PlanBook | None:
    """All plans that somebody has, by who has them; None where nobody has any."""
    found = {row[0]: _row(row) for row in await tx.all(_PLAN)}
    if not found:
        return None
    rows = await tx.all("select id, plan from account where plan is not null")
    book = PlanBook(
        anonymous=next((row.plan for row in found.values() if row.is_for_anonymous), None),
        signed_in=next((row.plan for row in found.values() if row.is_for_signed_in), None),
        assigned={account: found[name].plan for account, name in rows if name in found},
    )
    return None if book.is_empty else book


async def find_window(tx: Tx, key: str) -> Window | None:
    """What was pulled in the last window of somebody, which may be over."""
    row = await tx.one("select began_at, pulls from pull_window where key = $1", key)
    return None if row is None else Window(row[0], row[1])


async def add_pulls(tx: Tx, key: str, window: Window, length: int) -> Window:
    """Add what one process has let through since its window began (`length` in microseconds); what all have together.

    A window that was over before this one began makes room for it. One that begins after the end of this one stays as
    it is: what is added would be counted twice.
    """
    row = await tx.one(
        "insert into pull_window (key, began_at, ends_at, pulls) values ($1, $2, $3, $4) "
        "on conflict (key) do update set pulls = case when pull_window.began_at + $5 <= $2 then $4 "
        "when pull_window.began_at >= $3 then pull_window.pulls else pull_window.pulls + $4 end, "
        "began_at = case when pull_window.began_at + $5 <= $2 or (pull_window.began_at > $2 "
        "and pull_window.began_at < $3) then $2 else pull_window.began_at end, "
        "ends_at = $5 + case when pull_window.began_at + $5 <= $2 or (pull_window.began_at > $2 "
        "and pull_window.began_at < $3) then $2 else pull_window.began_at end returning began_at, pulls",
        key,
        window.began_at,
        window.began_at + length,
        window.pulls,
        length,
    )
    return Window(row[0], row[1]) if row else window


async def find_end_of(tx: Tx, newest: int) -> int:
    """When the first of so many windows that end last ends; 0 if there are no more than these."""
    row = await tx.one("select ends_at from pull_window order by ends_at desc limit 1 offset $1", newest - 1)
    return int(row[0]) if row else 0


async def remove_windows(tx: Tx, before: int, limit: int) -> int:
    """Forget windows that end before a time, so many at most; how many there were."""
    return await tx.execute(
        "delete from pull_window where key in "
        "(select key from pull_window where ends_at < $1 order by ends_at limit $2)",
        before,
        limit,
    )


def _row(row: Row) -> PlanRow:
    return PlanRow(Plan(row[0], row[1], row[2]), bool(row[3]), bool(row[4]))

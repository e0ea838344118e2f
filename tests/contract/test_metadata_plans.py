"""Rows of plans and of windows, over every engine."""

from __future__ import annotations

from entrepot.domain.plans import Plan, PlanBook, Window
from entrepot.metadata import accounts, plans
from entrepot.metadata.plans import PlanRow
from tests.contract.engines import Held
from tests.contract.rows import NOW

FREE, TEAM = Plan("free", 100, 21_600), Plan("team", None, 3600)
HOUR = 3_600_000_000


def test_plans_are_kept_by_name(held: Held) -> None:
    """A plan is put, replaced, listed and forgotten; what it is for is taken from the one that was for it."""
    held.transact(lambda tx: plans.put_plan(tx, PlanRow(FREE, is_for_anonymous=True, is_for_signed_in=True)))
    held.transact(lambda tx: plans.put_plan(tx, PlanRow(TEAM, is_for_signed_in=True)))
    both = [PlanRow(FREE, is_for_anonymous=True), PlanRow(TEAM, is_for_signed_in=True)]
    assert held.read(lambda tx: plans.list_plans(tx, "", 9)) == both
    assert held.read(lambda tx: plans.list_plans(tx, "free", 9)) == both[1:]
    assert held.read(plans.get_book) == PlanBook(FREE, TEAM)
    held.transact(lambda tx: plans.put_plan(tx, PlanRow(FREE)))
    assert held.read(lambda tx: plans.find_plan(tx, "free")) == PlanRow(FREE)
    held.transact(lambda tx: plans.put_plan(tx, PlanRow(TEAM)))
    assert held.read(plans.get_book) is None
    for name in ("free", "team"):
        held.transact(lambda tx, name=name: plans.remove_plan(tx, name))
    assert held.read(lambda tx: plans.find_plan(tx, "free")) is None
    assert held.read(plans.get_book) is None


def test_accounts_have_plans(held: Held) -> None:
    """A plan is assigned, counted, seen in the book and taken away again."""
    account = held.transact(lambda tx: accounts.add_account(tx, "alice", "x", is_admin=False, now=NOW))
    held.transact(lambda tx: plans.put_plan(tx, PlanRow(FREE)))
    assert held.read(lambda tx: plans.find_assigned(tx, account)) is None
    held.transact(lambda tx: plans.set_assigned(tx, account, "free"))
    assert held.read(lambda tx: plans.find_assigned(tx, account)) == "free"
    assert held.read(lambda tx: plans.count_holders(tx, "free")) == 1
    other = held.transact(lambda tx: accounts.add_account(tx, "aaron", "x", is_admin=False, now=NOW))
    assert held.read(lambda tx: plans.list_assigned(tx, 9)) == [("alice", "free")]
    held.transact(lambda tx: plans.set_assigned(tx, other, "free"))
    assert held.read(lambda tx: plans.list_assigned(tx, 9)) == [("aaron", "free"), ("alice", "free")]
    assert held.read(lambda tx: plans.list_assigned(tx, 1)) == [("aaron", "free")]
    held.transact(lambda tx: plans.set_assigned(tx, other, None))
    assert held.read(plans.get_book) == PlanBook(assigned={account: FREE})
    held.transact(lambda tx: plans.set_assigned(tx, account, None))
    assert held.read(lambda tx: plans.count_holders(tx, "free")) == 0
    assert held.read(lambda tx: plans.find_assigned(tx, account + 1)) is None


def test_pulls_add_up_within_a_window(held: Held) -> None:
    """Windows that overlap are one, which begins with the first of them; what was over makes room."""

    def add(began_at: int, pulls: int, length: int = HOUR) -> Window:
        return held.transact(lambda tx: plans.add_pulls(tx, "a", Window(began_at, pulls), length))

    assert held.read(lambda tx: plans.find_window(tx, "a")) is None
    assert add(NOW + 5, 3) == Window(NOW + 5, 3)
    assert add(NOW, 2) == Window(NOW, 5)
    assert add(NOW + HOUR - 1, 1) == Window(NOW, 6)
    assert held.read(lambda tx: plans.find_window(tx, "a")) == Window(NOW, 6)
    assert add(NOW + HOUR, 1) == Window(NOW + HOUR, 1)
    # Of a window that was over when the present one began, told late.
    assert add(NOW, 9) == Window(NOW + HOUR, 1)
    # The plan has become one with a shorter window.
    assert add(NOW + HOUR + 100, 4, 100) == Window(NOW + HOUR + 100, 4)


def test_windows_that_are_over_go(held: Held) -> None:
    """By when they end, a batch at a time; the end of so many newest is found."""
    for number in range(4):
        window = Window(NOW + number, 1)
        held.transact(lambda tx, n=number, window=window: plans.add_pulls(tx, f"k{n}", window, 10))
    assert held.read(lambda tx: plans.find_end_of(tx, 2)) == NOW + 12
    assert held.read(lambda tx: plans.find_end_of(tx, 5)) == 0
    assert held.transact(lambda tx: plans.remove_windows(tx, NOW + 13, 2)) == 2
    assert held.transact(lambda tx: plans.remove_windows(tx, NOW + 13, 2)) == 1
    assert held.transact(lambda tx: plans.remove_windows(tx, NOW + 13, 2)) == 0

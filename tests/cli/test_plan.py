"""`entrepot plan`."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.cli.caller import Caller, push
from tests.support.images import image
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.world import basic

LIMIT_SECONDS: Final = 30
# A connection each, so that every worker is met.
MANY: Final = 12
MOST_WORKERS: Final = 4
HEARD_SECONDS: Final = 2.5


def test_a_plan_is_set_listed_and_removed(admin: Caller) -> None:
    """As lines and a table for people, and as JSON for programs."""
    assert admin.run("plan", "set", "small", "100", "90m") == "plan small gives 100 pulls in 5400 s\n"
    assert admin.run("plan", "set", "large", "unlimited") == "plan large does not limit pulls\n"
    made = admin.ask("plan", "set", "large", "unlimited", "--signed-in")
    assert made == {"name": "large", "pulls": None, "window_seconds": 21_600, "anonymous": False, "signed_in": True}
    assert made in admin.ask("plan", "list")
    lines = [line.split() for line in admin.run("plan", "list").splitlines()]
    assert ["small", "100", "5400", "no", "no"] in lines
    assert ["large", "unlimited", "21600", "no", "yes"] in lines
    assert admin.run("plan", "remove", "small") == "plan small removed\n"
    assert admin.ask("plan", "remove", "large") == {"name": "large"}
    assert "no such plan" in admin.fail("plan", "remove", "large")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("many",), "pulls are a number or `unlimited`"),
        (("-5",), ""),
        (("5", "6 hours"), "a window is a number and s, m, h or d"),
        (("5", "1s"), "window_seconds is 60"),
    ],
)
def test_plans_that_cannot_be(admin: Caller, words: tuple[str, ...], problem: str) -> None:
    """What is wrong is said before anything is sent, or by the server."""
    done = admin.call("plan", "set", "odd", *words)
    assert done.returncode
    assert problem in done.stderr


def test_a_plan_limits_pulls(admin: Caller, server: Server) -> None:
    """Whoever was assigned one sees how many pulls are left, and is refused by every worker once they are used."""
    admin.run("namespace", "create", "planned")
    push(server, "planned/app", image(), "1.0")
    admin.run("plan", "set", "two", "2", "1h")
    assert admin.run("plan", "assign", "admin", "two") == "admin has the plan two\n"
    try:
        _repeat(lambda: all(_ask(server, "HEAD")[1] == "2;w=3600" for _ in range(MANY)))
        # One worker may have had all of these connections: the others hear of the plan within a second.
        time.sleep(HEARD_SECONDS)
        admitted = 0
        while _ask(server, "GET")[0] == 200:
            admitted += 1
        assert 2 <= admitted <= 2 * MOST_WORKERS
        _repeat(lambda: all(_ask(server, "GET")[0] == 429 for _ in range(MANY)))
        # And of what it has let through.
        time.sleep(HEARD_SECONDS)
        usage = admin.ask("plan", "show")
        assert (usage["owner"], usage["used"], usage["remaining"]) == ("admin", 2, 0)
        head, row = admin.run("plan", "show", "admin").splitlines()
        assert head.split()[:6] == ["OWNER", "PLAN", "ASSIGNED", "PULLS", "WINDOW", "SECONDS"]
        assert row.split()[:7] == ["admin", "two", "two", "2", "3600", "2", "0"]
        assert admin.ask("plan", "assign", "admin", "two")["assigned"] == "two"
    finally:
        assert admin.run("plan", "unassign", "admin") == "admin has the plan of everybody\n"
    assert admin.ask("plan", "unassign", "admin") == {"owner": "admin"}
    admin.run("plan", "remove", "two")


def _repeat(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


def _ask(server: Server, method: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.host)
    headers = {"authorization": basic("admin", ADMIN_PASSWORD)}
    connection.request(method, "/v2/planned/app/manifests/1.0", headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, response.headers["ratelimit-limit"] or ""

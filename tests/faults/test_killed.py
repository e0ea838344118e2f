"""`kill -9` at random moments under concurrent pushes: what was acknowledged is there after the restart."""

from __future__ import annotations

import random
import time

from tests.faults.behind import everywhere, over
from tests.faults.machine import check, require_no_process
from tests.faults.pusher import Crowd, Ledger, finish_chunks, list_losses
from tests.support.server import Server

CLIENTS = 8
KILLS = 3
PUSHES = 40


@everywhere
def test_kill_of_the_whole_group_loses_nothing_acknowledged(server: Server, rounds: int) -> None:
    """Killed at once at random moments, every process is gone, and after each restart all that was acknowledged,
    unfinished uploads included, is there byte for byte and nothing named is missing.
    """
    ledger = Ledger()
    with Crowd(server, ledger, CLIENTS) as crowd:
        for _ in range(KILLS * rounds):
            ledger.wait_for(PUSHES)
            time.sleep(random.uniform(0, 1))
            server.kill_group()
            require_no_process(server)
            crowd.pause()
            server.start()
            assert list_losses(server, ledger.drain()) == []
            assert check(server).report["findings"] == []
            crowd.resume()
    assert set(finish_chunks(server, ledger)) == {201}
    assert check(server, deep=True).code == 0


@over("sqlite-file", "postgresql-file")
def test_kill_of_the_parent_takes_its_children_along(server: Server) -> None:
    """Workers and the job process end with a killed parent, so that the port is free and the next server alone."""
    ledger = Ledger()
    with Crowd(server, ledger, 2):
        ledger.wait_for(PUSHES)
        server.kill()
        require_no_process(server)
    server.start()
    assert list_losses(server, ledger) == []

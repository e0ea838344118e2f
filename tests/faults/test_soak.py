"""Collection under load: three replicas, pushers of which half push again what was just freed, nothing lost."""

from __future__ import annotations

import json
import os
import pathlib
import time

import pytest

from tests.faults.machine import check
from tests.faults.pusher import Door
from tests.faults.soak import Tally, is_at_rest, list_paths, soak, status_of, wait_until
from tests.support.server import Server

UNITS = {"s": 1, "m": 60, "h": 3600}
LENGTH = os.environ.get("SOAK", "20s")
SECONDS = float(LENGTH.rstrip("smh")) * UNITS.get(LENGTH[-1], 1)
PUSHERS = 16


@pytest.mark.timeout(SECONDS * 2 + 600)
def test_nothing_is_lost_while_the_collector_never_rests(
    cluster: list[Server], tmp_path: pathlib.Path, store: str
) -> None:
    """No blob that a client was told of is unknown within the window, all that is tagged pulls, and no name dangles."""
    tally, began = Tally(), time.monotonic()
    soak(cluster, tally, PUSHERS, SECONDS)
    assert tally.violations == []
    lost = []
    with Door(cluster[0]) as door:
        for (_, tag), built in tally.live.items():
            lost += [path for path, wanted in list_paths(built, tag) if door.ask("GET", path).body != wanted]
    assert lost == []
    wait_until(lambda: is_at_rest(cluster[0]), 300)
    checked = check(cluster[0], deep=True)
    assert checked.report["findings"] == [], json.dumps(checked.report["findings"])
    assert checked.code == 0
    summary = {
        "store": store,
        "seconds": round(time.monotonic() - began),
        **dict(sorted(tally.counts.items())),
        "freed": status_of(cluster[0])["all"],
        "violations": len(tally.violations),
    }
    (tmp_path / "soak.json").write_text(json.dumps(summary))
    print(json.dumps(summary))
    assert tally.counts["pushed again"] > 0
    assert status_of(cluster[0])["all"]["blobs"] > 0

"""`entrepot worker`: run jobs; `serve` starts one by itself."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated

import structlog
from cyclopts import Parameter

from entrepot.cli.common import Config, Data, load_settings
from entrepot.cli.selfcheck import check_public_address
from entrepot.lifeline import die_with_parent
from entrepot.telemetry.logs import configure_logs
from entrepot.worker.loop import run_worker


def worker(
    *,
    config: Config = None,
    data: Data = None,
    parent: Annotated[int | None, Parameter(show=False)] = None,
    check_address: Annotated[tuple[str, ...], Parameter(show=False)] = (),
    check_ca: Annotated[str | None, Parameter(show=False)] = None,
    replacement: Annotated[bool, Parameter(show=False, negative="")] = False,
) -> None:
    """Run queued jobs (expiry, clean-up) until stopped; as many of these as you like share one database."""
    if parent is not None:
        die_with_parent(parent)
    settings = load_settings(config, data)
    configure_logs(settings.log.level)
    if check_address:
        threading.Thread(target=_check, args=(check_address, check_ca), name="self-check", daemon=True).start()
    asyncio.run(run_worker(settings, tolerates_newer=replacement))


def _check(addresses: tuple[str, ...], ca: str | None) -> None:
    for address in addresses:
        problem = check_public_address(address, ca)
        if problem:
            structlog.get_logger().warning("clients may not get through", problem=problem)

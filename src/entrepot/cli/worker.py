"""`entrepot worker`: run jobs; `serve` starts one by itself."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Annotated

import structlog
from cyclopts import Parameter

from entrepot.cli.common import Config, Data, load_settings
from entrepot.cli.selfcheck import check_public_address
from entrepot.lifeline import die_with_parent
from entrepot.telemetry.logs import configure_logs
from entrepot.worker.loop import run_worker


@Parameter(name="*")
@dataclass(frozen=True)
class Serve:
    """What `serve` tells the job process that it starts: whose child it is, and what the first one looks at."""

    parent: Annotated[int | None, Parameter(show=False)] = None
    replacement: Annotated[bool, Parameter(show=False, negative="")] = False
    check_address: Annotated[tuple[str, ...], Parameter(show=False)] = ()
    check_ca: Annotated[str | None, Parameter(show=False)] = None


ALONE = Serve()


def worker(*, config: Config = None, data: Data = None, serve: Serve = ALONE) -> None:
    """Run queued jobs (expiry, clean-up) until stopped; as many of these as you like share one database."""
    if serve.parent is not None:
        die_with_parent(serve.parent)
    settings = load_settings(config, data)
    configure_logs(settings.log.level)
    if serve.check_address:
        words = (serve.check_address, serve.check_ca)
        threading.Thread(target=_check, args=words, name="self-check", daemon=True).start()
    asyncio.run(run_worker(settings, tolerates_newer=serve.replacement))


def _check(addresses: tuple[str, ...], ca: str | None) -> None:
    for address in addresses:
        problem = check_public_address(address, ca)
        if problem:
            structlog.get_logger().warning("clients may not get through", problem=problem)

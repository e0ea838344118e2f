"""`entrepot worker`: run jobs; `serve` starts one by itself."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import Parameter

from entrepot.cli.common import Config, Data, load_settings
from entrepot.lifeline import die_with_parent
from entrepot.telemetry.logs import configure_logs
from entrepot.worker.loop import run_worker


def worker(
    *,
    config: Config = None,
    data: Data = None,
    parent: Annotated[int | None, Parameter(show=False)] = None,
) -> None:
    """Run queued jobs (expiry, clean-up) until stopped; as many of these as you like share one database."""
    if parent is not None:
        die_with_parent(parent)
    settings = load_settings(config, data)
    configure_logs(settings.log.level)
    asyncio.run(run_worker(settings))

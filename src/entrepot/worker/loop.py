"""Runs due jobs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Final

import structlog

from entrepot.app import open_registry
from entrepot.core.jobs import run_due, schedule_recurring
from entrepot.core.registry import Registry
from entrepot.domain.errors import EntrepotError
from entrepot.settings import Settings

PAUSE_SECONDS: Final = 1.0


async def run_worker(settings: Settings) -> None:
    """Open the registry and run jobs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_registry(settings) as registry:
        await schedule_recurring(registry)
        await _run_until(registry, stop)


async def _run_until(registry: Registry, stop: asyncio.Event) -> None:
    log = structlog.get_logger()
    name = f"{socket.gethostname()}:{os.getpid()}"
    while not stop.is_set():
        try:
            outcomes = await run_due(registry, name)
        except EntrepotError as error:
            log.warning("jobs wait", reason=error.message)
            outcomes = []
        for outcome in outcomes:
            if outcome.error:
                log.warning("job failed", kind=outcome.job.kind, reason=outcome.error, gave_up=outcome.is_dead)
        if not outcomes:
            await _sleep(stop)


async def _sleep(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(PAUSE_SECONDS):
            await stop.wait()
    except TimeoutError:
        return

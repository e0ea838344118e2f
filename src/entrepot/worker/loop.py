"""Runs due jobs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from entrepot.app import open_forwarder, open_registry
from entrepot.core.audit import flush_audit
from entrepot.core.audit_forward import forward
from entrepot.core.follow import Follower
from entrepot.core.jobs import Outcome, run_due, schedule_recurring
from entrepot.core.registry import Registry
from entrepot.core.scrub import Pacer, Scrubber
from entrepot.domain.errors import EntrepotError
from entrepot.metadata.events import EventRow
from entrepot.ports.forwarder import Forwarder
from entrepot.settings import Settings

PAUSE_SECONDS: Final = 1.0
SCRUB_PAUSE_SECONDS: Final = 5.0
SCRUB_AWAY_SECONDS: Final = 60.0


async def run_worker(settings: Settings) -> None:
    """Open the registry and run jobs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_registry(settings) as registry:
        await schedule_recurring(registry)
        forwarding = asyncio.create_task(_forward_until(registry, open_forwarder(settings), stop))
        scrubbing = asyncio.create_task(_scrub_until(registry, stop))
        await _run_until(registry, stop)
        # A blob may take hours: it is read again from its beginning by whoever is next.
        scrubbing.cancel()
        with suppress(asyncio.CancelledError):
            await scrubbing
        await forwarding


async def _run_until(registry: Registry, stop: asyncio.Event) -> None:
    log = structlog.get_logger()
    follower = Follower(registry)
    await follower.start()
    name = f"{socket.gethostname()}:{os.getpid()}"
    while not stop.is_set():
        try:
            for event in await follower.read():
                _tell(log, event)
            outcomes = await run_due(registry, name)
            await flush_audit(registry)
        except EntrepotError as error:
            log.warning("jobs wait", reason=error.message)
            outcomes = []
        for outcome in outcomes:
            _tell_outcome(log, outcome)
        if not outcomes:
            await _sleep(stop)
    with suppress(EntrepotError):
        await flush_audit(registry, is_last=True)


async def _forward_until(registry: Registry, receiver: Forwarder | None, stop: asyncio.Event) -> None:
    """Beside the jobs, which do not wait for a receiver that is away."""
    if receiver is None:
        return
    log, is_away = structlog.get_logger(), False
    while not stop.is_set():
        try:
            if not await forward(registry, receiver):
                await _sleep(stop)
            if is_away:
                log.info("the audit log is forwarded again")
            is_away = False
        except EntrepotError as error:
            if not is_away:
                log.warning("the audit log is not forwarded", reason=error.message, cause=error.detail.get("reason"))
            is_away = True
            await _sleep(stop)
    await receiver.close()


async def _scrub_until(registry: Registry, stop: asyncio.Event) -> None:
    """Beside the jobs, which do not wait while a large blob is read."""
    rate = registry.rules.scrub_bytes_per_second
    if not rate:
        return
    log = structlog.get_logger()
    scrubber = Scrubber(registry, f"{socket.gethostname()}:{os.getpid()}", Pacer(rate, time.monotonic))
    while not stop.is_set():
        pause = SCRUB_PAUSE_SECONDS
        try:
            if await scrubber.run():
                continue
        except EntrepotError as error:
            log.warning("the scrub waits", reason=error.message, cause=error.detail.get("reason"))
            pause = SCRUB_AWAY_SECONDS
        except Exception as error:
            # A mistake of ours in one blob must not end the reading of all others.
            log.exception("the scrub failed", error=str(error))
            pause = SCRUB_AWAY_SECONDS
        await _sleep(stop, pause)


def _tell(log: structlog.types.FilteringBoundLogger, event: EventRow) -> None:
    detail = msgspec.json.decode(event.detail)
    log.info(event.kind, actor=event.actor, subject=event.subject, number=event.place.id, detail=detail)


def _tell_outcome(log: structlog.types.FilteringBoundLogger, outcome: Outcome) -> None:
    if outcome.flaw is not None:
        kind = outcome.job.kind
        log.error("job failed", kind=kind, reason=outcome.error, gave_up=outcome.is_dead, exc_info=outcome.flaw)
    elif outcome.error:
        log.warning("job failed", kind=outcome.job.kind, reason=outcome.error, gave_up=outcome.is_dead)


async def _sleep(stop: asyncio.Event, seconds: float = PAUSE_SECONDS) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return

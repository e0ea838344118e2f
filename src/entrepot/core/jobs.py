"""Running jobs: claim, do, finish or try again; and the jobs that the core itself has."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from entrepot.core.audit_archive import archive
from entrepot.core.audit_seal import seal
from entrepot.core.collect import AUDIT, COLLECT, audit, run_collection
from entrepot.core.credentials import forget_credentials
from entrepot.core.denials import expire_denials
from entrepot.core.directory import check_accounts
from entrepot.core.join import join_pieces
from entrepot.core.letters import send_letter
from entrepot.core.locked import expire_attempts
from entrepot.core.mailing import SEND, forget_mail
from entrepot.core.pulls import expire_windows
from entrepot.core.rates import expire_rates
from entrepot.core.registry import SECOND, Registry
from entrepot.core.sessions import forget_sessions
from entrepot.core.sign_on_follow import check_links
from entrepot.core.signing_keys import keep_keys
from entrepot.core.upload import DISCARD, JOIN, expire_uploads
from entrepot.domain.errors import EntrepotError
from entrepot.metadata import jobs
from entrepot.metadata.jobs import JobRow
from entrepot.ports.database import Tx

EXPIRE: Final = "upload.expire"
EXPIRE_DENIALS: Final = "denial.expire"
KEYS: Final = "key.rotate"
FOLLOW_DIRECTORY: Final = "directory.follow"
FORGET: Final = "credential.forget"
FORGET_MAIL: Final = "mail.forget"
FOLLOW_SIGN_ON: Final = "sign-on.follow"
FORGET_SESSIONS: Final = "session.forget"
EXPIRE_ATTEMPTS: Final = "attempt.expire"
SEAL: Final = "audit.seal"
ARCHIVE: Final = "audit.archive"
LEASE_SECONDS: Final = 60
BEAT_SECONDS: Final = 20
BATCH: Final = 20
MOST_ATTEMPTS: Final = 8
LONGEST_WAIT_SECONDS: Final = 3600
LONGEST_ERROR: Final = 300
WORKER_DIED: Final = "its worker died"
RECURRING: Final = {
    EXPIRE: 300,
    EXPIRE_DENIALS: 3600,
    KEYS: 3600,
    FOLLOW_DIRECTORY: 300,
    FORGET: 86_400,
    FORGET_MAIL: 3600,
    FOLLOW_SIGN_ON: 300,
    FORGET_SESSIONS: 3600,
    EXPIRE_ATTEMPTS: 300,
    SEAL: 60,
    ARCHIVE: 600,
    COLLECT: 60,
}

Handler = Callable[[Registry, str], Awaitable[None]]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a job: an empty `error` is success; a `is_dead` one is not tried again.

    `flaw` is what the handler raised that no verb raises: a mistake of ours, to be logged with where it happened.
    """

    job: JobRow
    error: str
    is_dead: bool = False
    flaw: Exception | None = None


async def discard(registry: Registry, payload: str) -> None:
    """Delete bytes that nothing names any more."""
    await registry.store.delete(msgspec.json.decode(payload, type=list[str]))


async def expire(registry: Registry, payload: str) -> None:
    """Forget uploads that nobody has touched for long."""
    del payload
    await expire_uploads(registry)


async def forget_denials(registry: Registry, payload: str) -> None:
    """Forget refusals that nobody asks about any more."""
    del payload
    await expire_denials(registry)


async def rotate_keys(registry: Registry, payload: str) -> None:
    """Make the next key of tokens in time, and forget those that are not needed any more."""
    del payload
    await keep_keys(registry)


async def follow_directory(registry: Registry, payload: str) -> None:
    """Let accounts and teams follow what the directory says."""
    del payload
    await check_accounts(registry)


async def forget(registry: Registry, payload: str) -> None:
    """Delete the rows of secrets that ended long ago."""
    del payload
    await forget_credentials(registry)


async def forget_codes(registry: Registry, payload: str) -> None:
    """Forget codes of mails that have expired, and how many mails were asked for."""
    del payload
    await forget_mail(registry)


async def follow_sign_on(registry: Registry, payload: str) -> None:
    """Let accounts and teams follow what the providers say that people signed on with."""
    del payload
    await check_links(registry)


async def forget_old_sessions(registry: Registry, payload: str) -> None:
    """Delete the rows of sessions that have run out."""
    del payload
    await forget_sessions(registry)


async def forget_attempts(registry: Registry, payload: str) -> None:
    """Forget wrong passwords of long ago, who is near no rate limit any more, and windows of pulls that are over."""
    del payload
    await expire_attempts(registry)
    await expire_rates(registry)
    await expire_windows(registry)


async def seal_audit(registry: Registry, payload: str) -> None:
    """Sign the ends of all chains of the audit log."""
    del payload
    await seal(registry)


async def archive_audit(registry: Registry, payload: str) -> None:
    """Move old days of the audit log into the store, and remove those that are too old."""
    del payload
    await archive(registry)


async def collect(registry: Registry, payload: str) -> None:
    """Forget what neither a tag nor a pin keeps any more."""
    del payload
    await run_collection(registry)


async def audit_content(registry: Registry, payload: str) -> None:
    """Look for what nothing keeps without having been asked."""
    del payload
    await audit(registry)


HANDLERS: Final[Mapping[str, Handler]] = {
    DISCARD: discard,
    JOIN: join_pieces,
    EXPIRE: expire,
    EXPIRE_DENIALS: forget_denials,
    KEYS: rotate_keys,
    FOLLOW_DIRECTORY: follow_directory,
    FORGET: forget,
    SEND: send_letter,
    FORGET_MAIL: forget_codes,
    FOLLOW_SIGN_ON: follow_sign_on,
    FORGET_SESSIONS: forget_old_sessions,
    EXPIRE_ATTEMPTS: forget_attempts,
    SEAL: seal_audit,
    ARCHIVE: archive_audit,
    COLLECT: collect,
    AUDIT: audit_content,
}


async def schedule_recurring(registry: Registry) -> None:
    """Make sure that the jobs which come back are queued."""
    now = registry.clock.now()

    async def record(tx: Tx) -> None:
        for kind in RECURRING:
            await jobs.add_job(tx, kind, "", {}, now)

    await registry.database.transact(record)


async def run_due(registry: Registry, worker: str) -> list[Outcome]:
    """Take a batch of due jobs and do them one after the other; what became of each."""
    now = registry.clock.now()

    async def claim(tx: Tx) -> list[JobRow]:
        for job in await jobs.list_expired(tx, now, BATCH):
            await _take_back(tx, job, now)
        return await jobs.claim_jobs(tx, worker, now, now + LEASE_SECONDS * SECOND, BATCH)

    claimed = await registry.database.transact(claim)
    return [await _run(registry, worker, job) for job in claimed]


async def _run(registry: Registry, worker: str, job: JobRow) -> Outcome:
    now = registry.clock.now()
    if not await registry.database.transact(
        lambda tx: jobs.extend_lease(tx, job.id, worker, now + LEASE_SECONDS * SECOND)
    ):
        return Outcome(job, "taken by another worker")
    handler = HANDLERS.get(job.kind)
    error, flaw = f"no handler for jobs of the kind {job.kind}", None
    if handler is not None:
        beat = asyncio.create_task(_beat(registry, worker, job))
        try:
            await handler(registry, job.payload)
            error = ""
        except EntrepotError as failure:
            error = failure.message
        except Exception as failure:  # noqa: BLE001 - one job that nobody can do must not keep all others from being done
            error, flaw = f"{type(failure).__name__}: {failure}"[:LONGEST_ERROR], failure
        finally:
            beat.cancel()
    outcome = await registry.database.transact(lambda tx: _settle(tx, worker, job, error, registry.clock.now()))
    return outcome if flaw is None else msgspec.structs.replace(outcome, flaw=flaw)


async def _beat(registry: Registry, worker: str, job: JobRow) -> None:
    # A job may take longer than its lease; its worker tells that it is alive.
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        until = registry.clock.now() + LEASE_SECONDS * SECOND
        with suppress(EntrepotError):
            await registry.database.transact(partial(jobs.extend_lease, job=job.id, worker=worker, lease_until=until))


async def _settle(tx: Tx, worker: str, job: JobRow, error: str, now: int) -> Outcome:
    if not await jobs.extend_lease(tx, job.id, worker, now):
        # The lease ran out meanwhile and somebody else has the job: it is theirs to end.
        return Outcome(job, "taken by another worker")
    if error:
        return await _fail(tx, job, error, now)
    await jobs.finish_job(tx, job.id)
    await _come_back(tx, job, now)
    return Outcome(job, "")


async def _come_back(tx: Tx, job: JobRow, now: int) -> None:
    # One that was given up is a dead letter to look at, not the end of what has to be done again and again.
    if job.kind in RECURRING:
        await jobs.add_job(tx, job.kind, job.key, {}, now + RECURRING[job.kind] * SECOND)


async def _take_back(tx: Tx, job: JobRow, now: int) -> None:
    # At once, for most workers die of something else; but a job that kills whoever takes it must end some day.
    if job.attempts >= MOST_ATTEMPTS:
        await jobs.bury_job(tx, job.id, WORKER_DIED, now)
        await _come_back(tx, job, now)
    else:
        await jobs.retry_job(tx, job.id, WORKER_DIED, now)


async def _fail(tx: Tx, job: JobRow, error: str, now: int) -> Outcome:
    # Nothing else knows of bytes that are to be deleted: they are tried for as long as it takes.
    if job.attempts >= MOST_ATTEMPTS and job.kind != DISCARD:
        await jobs.bury_job(tx, job.id, error, now)
        await _come_back(tx, job, now)
        return Outcome(job, error, is_dead=True)
    seconds = min(LONGEST_WAIT_SECONDS, 2 ** min(job.attempts, 12)) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
    await jobs.retry_job(tx, job.id, error, now + int(seconds * SECOND))
    return Outcome(job, error)

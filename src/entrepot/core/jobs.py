"""The jobs that the core itself has: their kinds, who does them, and which come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from entrepot.core.audit_archive import archive
from entrepot.core.audit_seal import seal
from entrepot.core.collect import AUDIT, COLLECT, audit, run_collection
from entrepot.core.credentials import forget_credentials
from entrepot.core.crew import Crew, Handler, Outcome, Trade
from entrepot.core.denials import expire_denials
from entrepot.core.directory import check_accounts
from entrepot.core.join import join_pieces
from entrepot.core.letters import send_letter
from entrepot.core.locked import expire_attempts
from entrepot.core.mailing import SEND, forget_mail
from entrepot.core.pulls import expire_windows
from entrepot.core.rates import expire_rates
from entrepot.core.registry import Registry
from entrepot.core.sessions import forget_sessions
from entrepot.core.sign_on_follow import check_links
from entrepot.core.signing_keys import keep_keys
from entrepot.core.upload import DISCARD, JOIN, expire_uploads
from entrepot.metadata import jobs
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


async def discard(registry: Registry, payloads: Sequence[str]) -> None:
    """Delete bytes that nothing names any more, those of many jobs in one call of the store."""
    await registry.store.delete([key for payload in payloads for key in msgspec.json.decode(payload, type=list[str])])


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


TRADE: Final = Trade(
    HANDLERS,
    RECURRING,
    together={DISCARD: discard},
    # Nothing else knows of bytes that are to be deleted: they are tried for as long as it takes.
    endless=frozenset({DISCARD}),
    few={SEND: 4},
)


async def schedule_recurring(registry: Registry) -> None:
    """Make sure that the jobs which come back are queued."""
    now = registry.clock.now()

    async def record(tx: Tx) -> None:
        for kind in RECURRING:
            await jobs.ensure_job(tx, kind, now)

    await registry.database.transact(record)


def open_crew(registry: Registry, worker: str) -> Crew:
    """Whoever does all kinds of jobs, under the name of a worker."""
    return Crew(registry, worker, TRADE)


async def run_due(registry: Registry, worker: str) -> list[Outcome]:
    """Take a batch of due jobs and do them to their end; what became of each. Raises Unavailable."""
    crew = open_crew(registry, worker)
    return await crew.step(0) + await crew.finish()

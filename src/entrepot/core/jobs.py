"""The jobs that the core itself has: their kinds, who does them, and which come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from entrepot.core.recurrence import find_rule
from entrepot.core.registry import Registry
from entrepot.core.scrub import begin_round
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
SCRUB: Final = "blob.scrub"
HOUR: Final = 3600


class Chore(msgspec.Struct, frozen=True):
    """Verbs that take nothing but the registry, done one after the other, and again so many seconds later.

    One without `seconds` is done where somebody says when. `most_seconds` is how rarely it may be done at all: what the
    registry promises hangs on it.
    """

    seconds: int | None
    verbs: tuple[Callable[[Registry], Awaitable[object]], ...]
    most_seconds: int | None = None

    async def do(self, registry: Registry, payload: str) -> None:
        """The handler; such a job carries nothing."""
        del payload
        for verb in self.verbs:
            await verb(registry)


CHORES: Final = {
    EXPIRE: Chore(300, (expire_uploads,)),
    EXPIRE_DENIALS: Chore(HOUR, (expire_denials,)),
    KEYS: Chore(HOUR, (keep_keys,), HOUR),
    FOLLOW_DIRECTORY: Chore(300, (check_accounts,), HOUR),
    FORGET: Chore(86_400, (forget_credentials,)),
    FORGET_MAIL: Chore(HOUR, (forget_mail,)),
    FOLLOW_SIGN_ON: Chore(300, (check_links,), HOUR),
    FORGET_SESSIONS: Chore(HOUR, (forget_sessions,)),
    EXPIRE_ATTEMPTS: Chore(300, (expire_attempts, expire_rates, expire_windows)),
    SEAL: Chore(60, (seal,), 60),
    ARCHIVE: Chore(600, (archive,)),
    COLLECT: Chore(60, (run_collection,)),
    AUDIT: Chore(None, (audit,)),
    SCRUB: Chore(None, (begin_round,)),
}
RECURRING: Final = {kind: chore.seconds for kind, chore in CHORES.items()}


async def discard(registry: Registry, payloads: Sequence[str]) -> None:
    """Delete bytes that nothing names any more, those of many jobs in one call of the store."""
    await registry.store.delete([key for payload in payloads for key in msgspec.json.decode(payload, type=list[str])])


HANDLERS: Final[Mapping[str, Handler]] = {
    JOIN: join_pieces,
    SEND: send_letter,
    **{kind: chore.do for kind, chore in CHORES.items()},
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
    """Make sure that the jobs which come back are queued; one that waited while nobody ran it still does."""
    now = registry.clock.now()

    async def record(tx: Tx) -> None:
        for kind, seconds in RECURRING.items():
            first = (await find_rule(tx, kind, seconds, now)).first_from(now)
            if first is not None:
                await jobs.ensure_job(tx, kind, first)

    await registry.database.transact(record)


def open_crew(registry: Registry, worker: str) -> Crew:
    """Whoever does all kinds of jobs, under the name of a worker."""
    return Crew(registry, worker, TRADE)


async def run_due(registry: Registry, worker: str) -> list[Outcome]:
    """Take a batch of due jobs and do them to their end; what became of each. Raises Unavailable."""
    crew = open_crew(registry, worker)
    return await crew.step(0) + await crew.finish()

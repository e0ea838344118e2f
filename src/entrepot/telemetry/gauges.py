"""Metrics of what lies in the database: the same for whichever process is asked."""

from __future__ import annotations

from typing import Final

from entrepot.core.audit_seal import get_last_root
from entrepot.core.collect import Collected, find_runs
from entrepot.core.registry import SECOND, Registry
from entrepot.core.scrub import look
from entrepot.metadata.credentials import count_live
from entrepot.metadata.job_schedules import count_paused
from entrepot.metadata.jobs import STATES, count_jobs
from entrepot.metadata.mail_codes import count_codes
from entrepot.metadata.totp import count_totp
from entrepot.metadata.uploads import count_open_uploads
from entrepot.telemetry.metrics import Gauges

MOST_COUNTED: Final = 100_000


async def count_rows(registry: Registry) -> Gauges:
    """Jobs, uploads, secrets and the like, and how long ago what comes again and again was last. Raises Unavailable."""
    states = await registry.database.read(count_jobs)
    paused = await registry.database.read(count_paused)
    uploads = await registry.database.read(lambda tx: count_open_uploads(tx, MOST_COUNTED))
    now = registry.clock.now()
    secrets_held = await registry.database.read(lambda tx: count_live(tx, now, MOST_COUNTED))
    factors = await registry.database.read(lambda tx: count_totp(tx, MOST_COUNTED))
    codes = await registry.database.read(lambda tx: count_codes(tx, now, MOST_COUNTED))
    root = await get_last_root(registry)
    sealed = {"last": (now - root.at) / SECOND} if root else {}
    integrity = await look(registry)
    runs = await registry.database.read(find_runs)
    collected = runs.all if runs else Collected()
    oldest = {} if integrity.oldest is None else {"oldest": (now - integrity.oldest) / SECOND}
    return {
        "entrepot_people": (
            "Accounts with one-time codes, and codes of mails that hold, counted up to 100,000",
            {"second-factors": float(factors), "mail-codes": float(codes)},
        ),
        "entrepot_audit_sealed_seconds": ("Time since the audit log was sealed last", sealed),
        "entrepot_collected_bytes": (
            "Bytes that were freed by the collector, by all replicas since the first start",
            {"freed": float(collected.freed_bytes)},
        ),
        "entrepot_collected": (
            "Manifests and blobs that repositories have forgotten, by all replicas since the first start",
            {"manifests": float(collected.manifests), "blobs": float(collected.blobs)},
        ),
        "entrepot_scrub_read_bytes": (
            "Bytes that were read again in the background, by all replicas since the first start",
            {"read": float(integrity.scrub.read_bytes)},
        ),
        "entrepot_scrub_blobs": (
            "Blobs that were read again in the background, and those of them found damaged or unreadable",
            {
                "read": float(integrity.scrub.read_blobs),
                "damaged": float(integrity.scrub.damaged_blobs),
                "unreadable": float(integrity.scrub.unreadable_blobs),
            },
        ),
        "entrepot_scrub_oldest_seconds": ("Time since the blob verified the longest ago was", oldest),
        "entrepot_blobs_damaged": (
            "Blobs that are served to nobody, counted up to 100,000",
            {"now": float(integrity.damaged)},
        ),
        "entrepot_jobs": ("Jobs in the queue, by state", {state: float(states.get(state, 0)) for state in STATES}),
        "entrepot_job_kinds_paused": ("Kinds of jobs that do not come back until resumed", {"now": float(paused)}),
        "entrepot_uploads": ("Unfinished uploads, counted up to 100,000", {"open": float(uploads)}),
        "entrepot_credentials": (
            "Tokens, secrets of service accounts and login passwords that hold, counted up to 100,000",
            {kind: float(number) for kind, number in secrets_held.items()},
        ),
    }

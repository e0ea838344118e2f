"""The composition root: settings to adapters to Registry to an ASGI application."""

from __future__ import annotations

import asyncio
import os
import pathlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog

from entrepot import formats
from entrepot.api.face import ApiFace
from entrepot.authn.argon2 import Argon2Hasher
from entrepot.authn.outside import HttpOutside
from entrepot.authn.providers import HttpProviders
from entrepot.core.audit import flush_audit, keep_audit
from entrepot.core.audit_key import AuditKey, new_key
from entrepot.core.denials import DenialLog, store_denials
from entrepot.core.locked import store_locks
from entrepot.core.policy import Policy
from entrepot.core.pull_meter import PullMeter
from entrepot.core.pulls import exchange_pulls
from entrepot.core.rates import Limiter, RateRules, exchange_rates
from entrepot.core.recall import LOOK_SECONDS, Recall
from entrepot.core.registry import Registry, Rules
from entrepot.core.start import FirstAdministrator, prepare
from entrepot.core.tokens import GenuineCache
from entrepot.core.trust import Trust
from entrepot.core.uses import flush_uses
from entrepot.db.migrate import Migration, list_migrations, list_pending
from entrepot.domain.errors import EntrepotError, Unavailable
from entrepot.domain.manifest import EdgeKind
from entrepot.ports.database import Database
from entrepot.ports.directory import Directory
from entrepot.ports.forwarder import Forwarder
from entrepot.ports.mail import Mail
from entrepot.ports.source import Source
from entrepot.ports.store import BlobStore
from entrepot.ports.waiting import Waits
from entrepot.settings import Ldap, Rate, Settings, Storage, usable_cores
from entrepot.settings import Mail as MailSettings
from entrepot.settings_sense import SettingsError
from entrepot.sources.folder import FolderSource
from entrepot.sources.objects import ObjectsSource
from entrepot.telemetry.directory import ObservedDirectory
from entrepot.telemetry.gauges import count_rows
from entrepot.telemetry.logs import configure_logs
from entrepot.telemetry.metrics import Meter
from entrepot.telemetry.observe import Observed
from entrepot.web.face import MOUNTS, WebFace
from entrepot.wire.addresses import Addresses, Doors
from entrepot.wire.bodies import Limits
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from entrepot.wire.messages import Application, Receive, Scope, Send
from entrepot.wire.operations import Operations
from entrepot.wire.redirects import RedirectRules, Redirects

POLL_SECONDS: Final = 1.0
# How long a request may wait for the database. Jobs and commands take what the adapter gives them: 30 seconds.
REQUEST_SECONDS: Final = 5
AUDIT_KEY_FILE: Final = "audit-key.pem"
PASSWORD_FILE: Final = "admin-password"  # noqa: S105 - the name of a file, not a secret
_Step = Callable[[], Awaitable[object]]


class MigrationPlan(msgspec.Struct, frozen=True):
    """How many migrations a database has had, and those that it is to have."""

    applied: int
    pending: list[Migration]


class SystemClock:
    """The port Clock over the machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000


def _adapter(kind: str, url: str) -> Any:
    scheme = (
        url.partition("://")[0].replace("postgres", "postgresql")
        if url.startswith("postgres://")
        else url.partition("://")[0]
    )
    try:
        return import_module(f"entrepot.{kind}.{scheme}")
    except ModuleNotFoundError:
        raise Unavailable(f"no adapter for {scheme}:// in entrepot.{kind}") from None


def _rules(settings: Settings) -> Rules:
    return Rules(
        optional_edges=_optional_edges(settings),
        token_seconds=settings.auth.token_seconds,
        refresh_days=settings.auth.refresh_days,
        key_days=settings.auth.key_days,
        create_organisations=settings.auth.create_organisations,
        open_uploads=settings.limits.open_uploads,
        blob_bytes=settings.limits.blob_bytes,
        upload_seconds=settings.limits.upload_seconds,
        history_days=settings.keep.history_days,
        history_digests=settings.keep.history_digests,
        trash_days=settings.keep.trash_days,
        grace_seconds=settings.keep.grace_seconds,
        scrub_bytes_per_second=settings.scrub.bytes_per_second,
        scrub_days=settings.scrub.days,
        promise_seconds=settings.keep.promise_seconds,
        discard_seconds=settings.keep.discard_seconds,
        create_accounts=settings.ldap.create_accounts,
        private_addresses=settings.federation.private_addresses,
        lockout_failures=settings.auth.lockout_failures,
        lockout_seconds=settings.auth.lockout_seconds,
        listeners=frozenset(settings.all_listeners),
        sign_on_hours=settings.auth.sign_on_hours,
        require_totp=settings.auth.require_totp,
        public_url=settings.server.public_url,
        registration=settings.auth.registration,
        registration_domains=tuple(domain.lower() for domain in settings.auth.registration_domains),
        audit_days_in_database=settings.audit.days_in_database,
        audit_keep_days=settings.audit.keep_days,
    )


def _open_mail(mail: MailSettings) -> Mail | None:
    if not mail.url:
        return None
    from entrepot.notify.smtp import SmtpMail, SmtpOptions  # noqa: PLC0415 - who sends no mail needs none of it

    try:
        username, password = mail.read_credentials()
    except SettingsError as error:
        raise Unavailable(str(error)) from None
    parts = urlsplit(mail.url)
    is_tls = parts.scheme == "smtps"
    return SmtpMail(
        SmtpOptions(
            host=parts.hostname or "",
            port=parts.port or (465 if is_tls else 587 if mail.start_tls else 25),
            encryption="tls" if is_tls else "starttls" if mail.start_tls else "none",
            sender=mail.sender,
            username=username,
            password=password,
            ca=mail.ca,
        )
    )


def _limiter(rate: Rate) -> Limiter | None:
    numbers = (rate.address_per_minute, rate.anonymous_per_minute, rate.identity_per_minute)
    rules = RateRules(*numbers, tuple(rate.exempt))
    return None if rules.is_off else Limiter(rules)


def _redirects(registry: Registry, storage: Storage, addresses: Addresses) -> Redirects | None:
    store = registry.abilities.signs
    if store is None or storage.redirect == "never":
        return None
    rules = RedirectRules(
        seconds=storage.redirect_seconds,
        listeners=frozenset(storage.redirect_listeners),
        networks=tuple(storage.redirect_networks),
        streamed_networks=tuple(storage.stream_networks),
        streamed_clients=tuple(storage.stream_clients),
    )
    return Redirects(store, rules, addresses)


def _open_directory(ldap: Ldap) -> Directory | None:
    if not ldap.urls:
        return None
    from entrepot.authn.ldap import LdapDirectory, LdapOptions  # noqa: PLC0415 - who has no directory needs none of it

    try:
        password = ldap.read_password()
    except SettingsError as error:
        raise Unavailable(str(error)) from None
    return LdapDirectory(
        LdapOptions(
            urls=tuple(ldap.urls),
            bind_dn=ldap.bind_dn,
            bind_password=password,
            base=ldap.base,
            user_filter=ldap.user_filter,
            name_attribute=ldap.name_attribute,
            email_attribute=ldap.email_attribute,
            member_attribute=ldap.member_attribute,
            group_base=ldap.group_base,
            group_filter=ldap.group_filter,
            ca=ldap.ca,
            start_tls=ldap.start_tls,
            timeout_seconds=ldap.timeout_seconds,
        )
    )


def _doors(settings: Settings) -> Doors:
    return Doors(
        {name: listener.public_url for name, listener in settings.listeners.items() if listener.public_url},
        settings.server.client_certificate_header.lower().encode("latin-1"),
        settings.server.client_certificate_format,
        settings.server.allow_networks,
        settings.server.deny_networks,
    )


def open_forwarder(settings: Settings) -> Forwarder | None:
    """Where the audit log is forwarded to, if the settings say so."""
    if not settings.audit.syslog:
        return None
    from entrepot.notify.syslog import SyslogForwarder  # noqa: PLC0415 - who forwards nothing needs none of it

    return SyslogForwarder(settings.audit.syslog, settings.audit.syslog_ca)


def _optional_edges(settings: Settings) -> frozenset[EdgeKind]:
    indexes: set[EdgeKind] = {"manifest"} if settings.push.sparse_indexes else set()
    images: set[EdgeKind] = {"config", "layer"} if settings.push.sparse_images else set()
    return frozenset(indexes | images)


def open_source(url: str, username: str = "", password: str = "", ca: str = "") -> Source:
    """A place to take lost bytes from: `https://REGISTRY[/PATH]`, `file:///FOLDER` or what a store can be.

    Raises Unavailable, for a mistyped one too.
    """
    scheme = url.partition("://")[0]
    if scheme in {"http", "https"}:
        from entrepot.sources.registry import Access, RegistrySource  # noqa: PLC0415 - its HTTP client is large

        return RegistrySource(url, Access(username, password, ca))
    if scheme == "file":
        return FolderSource(url)
    return ObjectsSource(url, _adapter("storage", url).open_store(url))


@asynccontextmanager
async def open_registry(
    settings: Settings, *, is_serving: bool = False, tolerates_newer: bool = False
) -> AsyncIterator[Registry]:
    """The registry that the settings describe, ready, and closed afterwards; `is_serving` says that requests wait.

    A database that a newer version has upgraded is refused, except by a process that `tolerates_newer` (decision 0025).
    Raises Unavailable.
    """
    url = _limited(settings.database_url) if is_serving else settings.database_url
    database: Database = await _open_database(url, tolerates_newer=tolerates_newer)
    store: BlobStore = _adapter("storage", settings.storage_url).open_store(settings.storage_url)
    directory: Directory | None = None
    outside = HttpOutside(is_private_allowed=settings.federation.private_addresses)
    providers = HttpProviders(is_private_allowed=settings.federation.private_addresses)
    try:
        directory, mail = _open_directory(settings.ldap), _open_mail(settings.mail)
        # All workers together keep at most half of the cores busy with passwords, and each has one thread for them.
        hasher = Argon2Hasher(max(1, usable_cores() // 2 // settings.server.worker_count))
        clock = SystemClock()
        ready = await prepare(
            database, clock, hasher, FirstAdministrator(settings.admin_password, secrets.token_urlsafe(15))
        )
        if ready.generated_password:
            announce_password(settings.data_path, ready.generated_password)
        policy = Policy(database, ready.token_key)
        await policy.refresh()
        ports = (database, store, clock, hasher, policy, _rules(settings), directory)
        trust, key = Trust(outside, providers), AuditKey(lambda: read_audit_key(settings))
        yield Registry(*ports, trust=trust, mail=mail, audit_key=key, pulls=PullMeter(settings.rate.exempt))
    finally:
        await outside.close()
        await providers.close()
        if directory is not None:
            await directory.close()
        await store.close()
        await database.close()


def _is_network(url: str) -> bool:
    """Whether a database is somewhere else, and not a file of this machine."""
    return url.startswith(("postgres://", "postgresql://"))


def _limited(url: str) -> str:
    """The url of a database over a network with the limit of requests, unless it says another."""
    if not _is_network(url) or "limit_seconds=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}limit_seconds={REQUEST_SECONDS}"


async def _open_database(url: str, *, tolerates_newer: bool = False) -> Database:
    opened = _adapter("db", url).open_database(url, tolerates_newer=tolerates_newer)
    database: Database = await opened if asyncio.iscoroutine(opened) else opened
    return database


async def plan_migrations(settings: Settings) -> MigrationPlan:
    """Which migrations the database has and which it lacks; nothing is changed. Raises Unavailable as a start would."""
    adapter = _adapter("db", settings.database_url)
    found = adapter.list_applied(settings.database_url)
    applied: dict[int, str] = await found if asyncio.iscoroutine(found) else found
    known = list_migrations(adapter.DIALECT)
    return MigrationPlan(len(applied), list_pending(known, applied))


async def apply_migrations(settings: Settings) -> None:
    """Bring the database up to date, as every start does. Raises Unavailable."""
    await (await _open_database(settings.database_url)).close()


def announce_password(data: pathlib.Path, password: str) -> None:
    """Write a generated first password where only this user can read it, and print it once."""
    path = data / PASSWORD_FILE
    data.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{password}\n")
    print(f"first start: user admin, password {password} (kept in {path})", flush=True)  # noqa: T201 - not for the logs


def read_audit_key(settings: Settings) -> bytes:
    """The private key that signs roots of the audit log, made at its first use where only this user can read it."""
    if settings.audit.key_file:
        return pathlib.Path(settings.audit.key_file).read_bytes()
    path = settings.data_path / AUDIT_KEY_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(new_key())
        # Whoever is first wins, whole.
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes()


class _Application:
    """Dispatches by the first segment of the path; opens the registry at start-up and closes it at the end."""

    def __init__(self, settings: Settings, meter: Meter, *, tolerates_newer: bool = False) -> None:
        self._settings = settings
        self._tolerates_newer = tolerates_newer
        self._meter = meter
        self._faces: dict[str, Application] = {}
        self._limiter = _limiter(settings.rate)
        self._is_stopping: Callable[[], bool] = bool
        self._is_told_away = False
        self._log = structlog.get_logger()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._live(scope, receive, send)
        first = scope["path"][1:].partition("/")[0]
        face = self._faces.get(first) or self._faces[""]
        return face(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What only the server sees, if it is ours.
        state = scope.get("state") or {}
        self._meter.refused = state.get("entrepot.refused", self._meter.refused)
        self._meter.turned_away = state.get("entrepot.turned_away", self._meter.turned_away)
        self._meter.connections = state.get("entrepot.connections", self._meter.connections)
        self._is_stopping = state.get("entrepot.stopping", self._is_stopping)
        await receive()
        try:
            async with open_registry(self._settings, is_serving=True, tolerates_newer=self._tolerates_newer) as opened:
                registry = self._observed(opened)
                denials = DenialLog(registry.policy.token_key)
                self._mount(registry, denials)
                polls = asyncio.gather(*self._polls(registry, denials))
                await send({"type": "lifespan.startup.complete"})
                await receive()
                async with registry.audit.turn:
                    # Not in the middle of writing records, which might be written and then written again.
                    polls.cancel()
                with suppress(asyncio.CancelledError):
                    await polls
                await self._store_last(registry, denials)
                self._meter.publish()
        except EntrepotError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.shutdown.complete"})

    def _observed(self, registry: Registry) -> Registry:
        rows = self._settings.database
        if rows.cache_bytes and _is_network(self._settings.database_url):
            recall = Recall(registry.database, rows.cache_bytes, rows.away_seconds, registry.rules.discard_seconds)
            self._meter.remembered = recall.counts
            registry = replace(registry, recall=recall)
        if registry.directory is None:
            return registry
        return replace(registry, directory=ObservedDirectory(registry.directory, self._meter))

    def _mount(self, registry: Registry, denials: DenialLog) -> None:
        settings = self._settings
        self._meter.exchanged = registry.trust.counts
        self._meter.sign_ins = registry.trust.sign_ins
        self._meter.limited = registry.lockouts.refused
        self._meter.audited = registry.audit.counts
        limits = Limits(
            idle_seconds=settings.limits.body_idle_seconds,
            slowest_bytes_per_second=settings.limits.body_bytes_per_second,
            manifest_bytes=settings.limits.manifest_bytes,
            blob_bytes=settings.limits.blob_bytes,
        )
        addresses = Addresses(settings.server.public_url, settings.server.trusted_proxies, _doors(settings))
        redirects = _redirects(registry, settings.storage, addresses)
        self._meter.redirects = redirects.counts if redirects else {}
        context = Context(registry, limits, addresses, GenuineCache(), denials, self._limiter, redirects)
        for grammar in formats.discover().values():
            face = Face(context, grammar)
            self._faces.update(dict.fromkeys(grammar.mounts, face))
        self._faces["api"] = ApiFace(context)
        self._faces.update(dict.fromkeys(MOUNTS, WebFace(context)))
        operations = Operations(context, lambda: self._render_metrics(registry), self._is_stopping)
        self._faces.update(dict.fromkeys(("", "healthz", "readyz", "metrics", ".well-known"), operations))

    async def _render_metrics(self, registry: Registry) -> bytes:
        try:
            gauges = await count_rows(registry)
        except Unavailable:
            if registry.recall is None:
                raise
            # That it is away is told by what needs no rows.
            gauges = {}
        return self._meter.render(gauges)

    def _polls(self, registry: Registry, denials: DenialLog) -> list[Coroutine[Any, Any, None]]:
        # Apart from each other: whoever was locked out stays out although something that is written takes its time.
        steps: list[tuple[_Step, str, float]] = [
            (registry.policy.refresh, "policy not refreshed", POLL_SECONDS),
            (lambda: self._store(registry, denials), "refusals and the like not stored", POLL_SECONDS),
            # It has its own pause, which ends sooner where much is held.
            (lambda: keep_audit(registry, POLL_SECONDS), "audit records not written", 0),
        ]
        if (recall := registry.recall) is not None:
            steps.append((lambda: self._follow(recall), "events not followed", LOOK_SECONDS))
        return [self._publish(registry), *(self._poll(*each) for each in steps)]

    async def _poll(self, step: _Step, failed: str, seconds: float) -> None:
        """Do something again and again, whatever becomes of it; the first failure of several is told."""
        is_failing = False
        while True:
            try:
                await step()
                is_failing = False
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not end it: nobody would notice
                if not is_failing:
                    is_expected = isinstance(error, EntrepotError)
                    self._log.warning(failed, reason=str(error), exc_info=None if is_expected else error)
                is_failing = True
            await asyncio.sleep(seconds)

    async def _publish(self, registry: Registry) -> None:
        queues = {"database": registry.database, "passwords": registry.hasher}
        while True:
            for name, adapter in queues.items():
                if isinstance(adapter, Waits):
                    self._meter.waiting[name] = adapter.waiting()
            self._meter.waiting["audit"] = registry.audit.waiting
            self._meter.database_away = int(registry.recall is not None and registry.recall.is_away)
            self._meter.publish()
            await asyncio.sleep(POLL_SECONDS)

    async def _store(self, registry: Registry, denials: DenialLog) -> None:
        await store_denials(registry, denials)
        await flush_uses(registry)
        await store_locks(registry)
        await exchange_pulls(registry)
        if self._limiter is not None:
            await exchange_rates(registry, self._limiter)

    async def _store_last(self, registry: Registry, denials: DenialLog) -> None:
        """Each for itself: one that cannot be stored keeps no other one from it."""
        for step in (
            lambda: store_denials(registry, denials),
            lambda: flush_uses(registry, is_last=True),
            lambda: flush_audit(registry, is_last=True),
            lambda: exchange_pulls(registry),
        ):
            try:
                await step()
            except EntrepotError as error:
                self._log.warning("not stored at the end", reason=error.message)

    async def _follow(self, recall: Recall) -> None:
        """Keep what is remembered true, and tell once that the database is away, and once that it is back."""
        # Not what it remembers of itself: requests look as well, and one of them may have been first.
        try:
            await recall.look()
        except Unavailable as error:
            if not self._is_told_away:
                seconds = self._settings.database.away_seconds
                self._log.warning("the database is away; pulls go on from memory", reason=error.message, most=seconds)
            self._is_told_away = True
        else:
            if self._is_told_away:
                self._log.info("the database is back")
            self._is_told_away = False


def build(settings: Settings, metrics: pathlib.Path | None = None, *, tolerates_newer: bool = False) -> Application:
    """The whole server as one ASGI application with lifespan; `metrics` is a folder that its processes share.

    `tolerates_newer`: see `open_registry`.
    """
    if not structlog.is_configured():
        # The library's default prints local variables of tracebacks, secrets among them.
        configure_logs(settings.log.level)
    meter = Meter(metrics)
    application = _Application(settings, meter, tolerates_newer=tolerates_newer)
    return Observed(application, meter, is_logged=settings.log.access)

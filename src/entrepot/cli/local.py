"""The API over the files of this machine: the same verbs and judgements, without a server in between.

Whoever can open the database could change it anyhow: they act as an administrator, and events name them.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import pwd
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from entrepot.api.face import ApiFace
from entrepot.app import open_registry
from entrepot.cli.common import load_settings
from entrepot.client.api import Answer
from entrepot.core.audit import flush_audit
from entrepot.core.audit_verify import verify
from entrepot.core.denials import DenialLog
from entrepot.core.policy import Policy
from entrepot.core.registry import Registry
from entrepot.core.tokens import GenuineCache
from entrepot.domain.access import LOCAL, Caller, Identity
from entrepot.domain.errors import EntrepotError
from entrepot.domain.policy import OPERATOR, AccountPolicy
from entrepot.settings import Settings
from entrepot.settings_sense import SettingsError
from entrepot.wire.addresses import Addresses
from entrepot.wire.bodies import Limits
from entrepot.wire.context import Context
from entrepot.wire.messages import Message, Scope

T = TypeVar("T")


@contextmanager
def open_local(config: pathlib.Path | None, data: pathlib.Path | None) -> Iterator[LocalApi]:
    """The API of the registry that the settings describe. Raises SettingsError, Unavailable."""
    settings = load_settings(config, data)
    _require_database(settings)
    with asyncio.Runner() as runner:
        opened = open_registry(settings)
        registry = runner.run(_enter(opened.__aenter__()))
        try:
            policy = _OperatorPolicy(registry.database, registry.policy.token_key)
            runner.run(policy.refresh())
            yield LocalApi(runner, replace(registry, policy=policy))
        finally:
            with suppress(EntrepotError):
                # What was done is written; a server beside this links it if we cannot.
                runner.run(flush_audit(registry, is_last=True))
            runner.run(_enter(opened.__aexit__(None, None, None)))


def verify_local(config: pathlib.Path | None, data: pathlib.Path | None, known: tuple[int, str] | None) -> Any:
    """What `/audit/verification` answers, however long the audit log is. Raises SettingsError, Unavailable."""
    settings = load_settings(config, data)
    _require_database(settings)
    return asyncio.run(_verify(settings, known))


async def _verify(settings: Settings, known: tuple[int, str] | None) -> Any:
    from entrepot.api.audit import report_of  # noqa: PLC0415 - the framework is slow to load

    async with open_registry(settings) as registry:
        return msgspec.to_builtins(report_of(await verify(registry, known=known)))


class LocalApi:
    """The port Api of the command line over an ASGI application in this process."""

    def __init__(self, runner: asyncio.Runner, registry: Registry) -> None:
        self._runner = runner
        context = Context(registry, Limits(), Addresses("", []), GenuineCache(), DenialLog(registry.policy.token_key))
        self._face = ApiFace(context, _operator)

    def send(self, method: str, path: str, body: bytes | None) -> Answer:
        return self._runner.run(self._send(_scope(method, path, body), body or b""))

    def advise(self, status: int) -> str:
        del status
        return ""

    async def _send(self, scope: Scope, body: bytes) -> Answer:
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._face(scope, receive, send)
        start, *rest = messages
        links = [value.decode() for name, value in start["headers"] if name == b"link"]
        return Answer(start["status"], ", ".join(links), b"".join(message.get("body", b"") for message in rest))


class _OperatorPolicy(Policy):
    """The policy of the registry, in which whoever sits at this machine administers."""

    async def refresh(self) -> bool:
        is_new = await super().refresh()
        accounts = self.snapshot.accounts
        if OPERATOR not in accounts:
            operator = AccountPolicy(_name(), is_admin=True, is_disabled=False, credentials_since=0)
            self.snapshot = msgspec.structs.replace(self.snapshot, accounts={**accounts, OPERATOR: operator})
        return is_new


async def _operator(context: Context, header: bytes | None, address: str) -> Caller:
    del context, header, address
    return Caller(Identity(OPERATOR, _name()), None, method="local")


async def _enter(step: Coroutine[Any, Any, T]) -> T:
    return await step


def _name() -> str:
    # The colon keeps it apart from every user of the registry.
    try:
        return f"local:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"local:{os.getuid()}"


def _require_database(settings: Settings) -> None:
    # Opening makes what is missing: a mistyped folder would become a new, empty registry.
    scheme, _, path = settings.database_url.partition("://")
    if scheme == "sqlite" and not pathlib.Path(path).exists():
        raise SettingsError(f"there is no registry at {path}: look at --data or --config, or start one: entrepot serve")


def _scope(method: str, path: str, body: bytes | None) -> Scope:
    raw, _, query = path.partition("?")
    headers = [(b"host", b"localhost")]
    if body is not None:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return {
        "type": "http",
        "method": method,
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "scheme": "http",
        "client": None,
        "server": ("localhost", 0),
        "http_version": "1.1",
        "root_path": "",
        "entrepot.listener": LOCAL,
    }

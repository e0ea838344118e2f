"""A mail server of this machine, which keeps what it takes."""

from __future__ import annotations

import time
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope

from entrepot.domain.mail import Letter
from entrepot.notify.smtp import SmtpOptions
from tests.support.server import free_port

LIMIT_SECONDS = 30


class Taking:
    """Takes every mail but those to nobody."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Envelope, to: str, options: list[str]) -> str:  # noqa: N802
        if to.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        self.taken.append(envelope)
        return "250 OK"


class Post:
    """A mail server of some kind, and a client for it."""

    def __init__(self, **options: Any) -> None:
        self.handler = Taking()
        self.controller = Controller(self.handler, hostname="127.0.0.1", port=free_port(), **options)

    def __enter__(self) -> Post:
        self.controller.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.controller.stop()

    def wait(self, number: int) -> Letter:
        """The letter of a number, from 0, once it has come."""
        end = time.monotonic() + LIMIT_SECONDS
        while len(self.handler.taken) <= number and time.monotonic() < end:
            time.sleep(0.05)
        envelope = self.handler.taken[number]
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        return Letter(str(message["To"]), str(message["Subject"]), message.get_content())

    def options(self, **change: Any) -> SmtpOptions:
        """How to reach it."""
        port = self.controller.port
        return SmtpOptions(**{"host": "127.0.0.1", "port": port, "encryption": "none", "sender": "r@x.org", **change})

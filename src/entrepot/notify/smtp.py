"""Mail by SMTP (RFC 5321): the standard library's client in a thread.

Letters are few and sent by the job process alone, so nothing is gained by a client of one's own event loop.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import Final, Literal

import msgspec

from entrepot.domain.errors import Unavailable
from entrepot.domain.mail import Letter, domain_of

LIMIT_SECONDS: Final = 20
LONGEST_REASON: Final = 200


class SmtpOptions(msgspec.Struct, frozen=True):
    """A server, how the connection is encrypted, who we are to it (empty for nobody), and who letters are from."""

    host: str
    port: int
    encryption: Literal["tls", "starttls", "none"]
    sender: str
    username: str = ""
    password: str = ""
    ca: str = ""


class SmtpMail:
    """The port Mail over one server, a connection a letter."""

    def __init__(self, options: SmtpOptions) -> None:
        self._options = options

    async def send(self, letter: Letter) -> None:
        content = _rendered(letter, self._options.sender)
        try:
            await asyncio.to_thread(self._send, letter.to, content)
        except smtplib.SMTPRecipientsRefused as error:
            reasons = "; ".join(_reason(*answer) for answer in error.recipients.values())
            raise Unavailable(f"the mail server refuses the recipient: {reasons}") from None
        except smtplib.SMTPResponseException as error:
            raise Unavailable(f"the mail server refuses: {_reason(error.smtp_code, error.smtp_error)}") from None
        except (OSError, smtplib.SMTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unavailable(f"the mail server cannot be reached: {reason[:LONGEST_REASON]}") from None

    def _send(self, to: str, content: bytes) -> None:
        options = self._options
        with self._connect() as connection:
            if options.encryption == "starttls":
                connection.starttls(context=self._trust())
            if options.username:
                connection.login(options.username, options.password)
            connection.sendmail(options.sender, [to], content)

    def _connect(self) -> smtplib.SMTP:
        options = self._options
        if options.encryption == "tls":
            return smtplib.SMTP_SSL(options.host, options.port, timeout=LIMIT_SECONDS, context=self._trust())
        return smtplib.SMTP(options.host, options.port, timeout=LIMIT_SECONDS)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._options.ca or None)


def _rendered(letter: Letter, sender: str) -> bytes:
    try:
        message = _message(letter, sender)
        content = message.as_bytes(policy=SMTP)
        recipients = [address.addr_spec for address in message["To"].addresses]
    except Exception as error:  # noqa: BLE001 - the library ends in all kinds of errors at what it cannot write
        raise Unavailable(f"the letter cannot be written: {type(error).__name__}") from None
    if recipients != [letter.to]:
        raise Unavailable("the letter cannot be written: its recipient would be read as another one")
    return content


def _message(letter: Letter, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, letter.to, letter.subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=domain_of(sender))
    # Nobody's holiday notice is to come back (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message


def _reason(code: int, text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {shown}"[:LONGEST_REASON]

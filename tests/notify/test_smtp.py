"""Mail by SMTP, against a server of its own."""

from __future__ import annotations

import asyncio
import ssl
from email import message_from_bytes, policy

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from entrepot.cli.certificates import Files, prepare_certificates
from entrepot.domain.errors import Unavailable
from entrepot.domain.mail import Letter
from entrepot.notify.smtp import SmtpMail, SmtpOptions
from tests.support.post import Post
from tests.support.server import free_port

LETTER = Letter("erin@example.com", "Hello", "A code:\n\n  abc\n\n.\nend, with ü\n")


def send(options: SmtpOptions, letter: Letter = LETTER) -> None:
    """Send a letter."""
    asyncio.run(SmtpMail(options).send(letter))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """An authority and a certificate for this machine."""
    return prepare_certificates(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])


def test_a_letter_arrives() -> None:
    """With its text as it was written, from the sender, to the one recipient, marked as made by a program."""
    with Post() as post:
        send(post.options())
    (envelope,) = post.handler.taken
    message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
    assert (envelope.mail_from, envelope.rcpt_tos) == ("r@x.org", ["erin@example.com"])
    assert (message["To"], message["Subject"], message["Auto-Submitted"]) == (LETTER.to, "Hello", "auto-generated")
    assert message.get_content().splitlines() == LETTER.text.splitlines()
    assert message["Message-ID"].endswith("@x.org>")


def trusting(files: Files) -> ssl.SSLContext:
    """What a server needs to speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def test_encryption_from_the_start(files: Files) -> None:
    """TLS at once, to a server whose certificate is trusted, and to no other."""
    with Post(ssl_context=trusting(files)) as post:
        send(post.options(encryption="tls", ca=str(files.ca)))
        with pytest.raises(Unavailable, match="cannot be reached"):
            send(post.options(encryption="tls"))
    assert len(post.handler.taken) == 1


def test_encryption_on_the_way(files: Files) -> None:
    """STARTTLS before anything is said; a server that has none gets neither letter nor password."""

    def judge(server: object, session: object, envelope: object, mechanism: str, given: object) -> AuthResult:
        is_right = isinstance(given, LoginPassword) and (given.login, given.password) == (b"reg", b"a-secret")
        return AuthResult(success=is_right, handled=False)

    with Post(tls_context=trusting(files), require_starttls=True, authenticator=judge, auth_required=True) as post:
        known = {"encryption": "starttls", "ca": str(files.ca), "username": "reg"}
        send(post.options(**known, password="a-secret"))
        with pytest.raises(Unavailable, match="535") as refused:
            send(post.options(**known, password="another-secret"))
        assert "another-secret" not in str(refused.value)
    assert len(post.handler.taken) == 1
    with Post() as bare:
        with pytest.raises(Unavailable, match="cannot be reached"):
            send(bare.options(encryption="starttls", username="reg", password="a-secret"))
        assert bare.handler.taken == []


def test_what_a_server_refuses() -> None:
    """The reason of a refusal is told, and whether it is the recipient."""
    with Post() as post, pytest.raises(Unavailable, match="refuses the recipient: 550 no such mailbox"):
        send(post.options(), Letter("nobody@example.com", "Hello", "text"))


def test_nobody_there() -> None:
    """A server that cannot be reached is told as that."""
    with pytest.raises(Unavailable, match="cannot be reached"):
        send(SmtpOptions("127.0.0.1", free_port(), "none", "r@x.org"))


def test_no_line_breaks_into_headers() -> None:
    """What would be another header is refused before anything is sent."""
    with Post() as post:
        with pytest.raises(Unavailable, match="cannot be written"):
            send(post.options(), Letter("erin@example.com", "Hello\nBcc: fred@example.com", "text"))
        assert post.handler.taken == []


@pytest.mark.parametrize("local", ["=?utf-8?q?=0a?=", "=?utf-8?q?ceo=40bank.com=2c?=", "=?utf-8?q?x?="])
def test_no_letter_says_another_recipient(local: str) -> None:
    """What the library cannot write, or would write as another recipient, is refused before anything is sent."""
    with pytest.raises(Unavailable, match="the letter cannot be written"):
        send(SmtpOptions("127.0.0.1", free_port(), "none", "r@x.org"), Letter(f"{local}@example.com", "Hello", "text"))

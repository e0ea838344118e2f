"""`entrepot user totp`, and logging in with a code."""

from __future__ import annotations

import base64
import time

from entrepot.domain.secrets import is_secret
from entrepot.domain.totp import code_at
from tests.cli.caller import Caller
from tests.support.server import Server

PASSWORD = "a-password-of-tess"


def code_of(secret: str, steps: int) -> str:
    """The code that an authenticator with a secret shows some steps from now."""
    return code_at(base64.b32decode(secret), int(time.time()) // 30 + steps)


def test_a_life_with_one_time_codes(admin: Caller, server: Server, tmp_path_factory: object) -> None:
    """Set up with a picture, confirmed, logged in by a code as a token, and switched off with another one."""
    admin.run("user", "add", "tess", "--password-stdin", stdin=PASSWORD)
    tess = Caller(admin.home / "tess")
    tess.home.mkdir()
    login = ("login", server.url, "--username", "tess", "--password-stdin")
    tess.run(*login, stdin=PASSWORD)
    shown = tess.run("user", "totp", "enable", "tess")
    assert "▄" in shown or "█" in shown
    secret = tess.ask("user", "totp", "enable", "tess")["secret"]
    assert tess.run("user", "totp", "status", "tess") == "tess is not asked for codes\n"
    # The code before the present one: the others are for what comes after it.
    shown = tess.run("user", "totp", "confirm", "tess", "--code-stdin", stdin=code_of(secret, -1))
    codes = [line.strip() for line in shown.splitlines() if line.startswith("  ")]
    assert (len(codes), f"entrepot login {server.url}" in shown) == (10, True)
    assert "one-time code" in tess.fail("whoami")
    assert "no one-time code" in tess.fail(*login, stdin=PASSWORD)
    assert "code is wrong" in tess.having(ENTREPOT_OTP="12345").fail(*login, stdin=PASSWORD)
    assert tess.run(*login, stdin=f"{PASSWORD}\n{code_of(secret, 0)}\n").endswith(" as tess\n")
    assert PASSWORD not in tess.credentials.read_text()
    assert tess.run("whoami").startswith("tess on ")
    assert is_secret(tess.run("login-password").strip())
    assert tess.run("user", "totp", "status", "tess").endswith("10 recovery codes are left\n")
    proof = f"{PASSWORD}\n{codes[0]}\n"
    assert (
        len(tess.ask("user", "totp", "recovery-codes", "tess", "--password-stdin", stdin=proof)["recovery_codes"]) == 10
    )
    another = tess.run(
        "user", "totp", "recovery-codes", "tess", "--password-stdin", stdin=f"{PASSWORD}\n{code_of(secret, 1)}"
    )
    last = another.splitlines()[-1].strip()
    changed = tess.run("user", "passwd", "tess", "--password-stdin", stdin=f"{PASSWORD}\n{PASSWORD}-2\n")
    assert changed == "the password of tess is changed\n"
    assert tess.run("whoami").startswith("tess on ")
    proof = f"{PASSWORD}-2\n{last}\n"
    assert (
        tess.run("user", "totp", "disable", "tess", "--password-stdin", stdin=proof)
        == "tess is asked for no more codes\n"
    )
    assert admin.ask("user", "totp", "status", "tess")["enabled"] is False


def test_administrators_help(admin: Caller, server: Server) -> None:
    """Switched off by an administrator, for somebody who lost everything."""
    admin.run("user", "add", "theo", "--password-stdin", stdin=PASSWORD)
    theo = admin.having(ENTREPOT_SERVER_URL=server.url, ENTREPOT_USERNAME="theo", ENTREPOT_PASSWORD=PASSWORD)
    secret = theo.ask("user", "totp", "enable", "theo")["secret"]
    theo.having(ENTREPOT_OTP=code_of(secret, 0)).ask("user", "totp", "confirm", "theo")
    assert "one-time code" in theo.fail("whoami")
    assert admin.ask("user", "totp", "disable", "theo") == {"name": "theo"}
    assert theo.ask("whoami")["name"] == "theo"

"""Passwords: asked for, read from standard input, or made; never words of a command line, which everybody can see."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from typing import Annotated, Final

from cyclopts import Parameter

from entrepot.client.errors import ClientError
from entrepot.domain.secrets import is_secret

GENERATED_BYTES: Final = 18
ONE_TIME_CODE: Final = "ENTREPOT_OTP"

FromStdin = Annotated[bool, Parameter(help="Read the password from the first line of standard input.", negative="")]
Generate = Annotated[bool, Parameter(help="Make a random password and print it.", negative="")]


def new_password(*, is_stdin: bool, is_generated: bool) -> str:
    """A password to set. Raises ClientError."""
    if is_stdin and is_generated:
        raise ClientError("--password-stdin and --generate exclude each other")
    if is_generated:
        return secrets.token_urlsafe(GENERATED_BYTES)
    if is_stdin:
        return _first_line()
    first = _ask("New password: ")
    if _ask("Again: ") != first:
        raise ClientError("the two passwords are not the same")
    return first


def known_password(*, is_stdin: bool, prompt: str) -> str:
    """A password that exists already. Raises ClientError."""
    return _first_line() if is_stdin else _ask(prompt)


def own_password(kept: str, *, is_stdin: bool) -> str:
    """The caller's own password: what they logged in with, if that is one, else asked for. Raises ClientError."""
    if is_stdin:
        return _first_line()
    return kept if kept and not is_secret(kept) else _ask("Your password: ")


def one_time_code(*, is_stdin: bool) -> str:
    """A one-time or recovery code: ENTREPOT_OTP, the next line of standard input, or asked for. Raises ClientError."""
    code = os.environ.get(ONE_TIME_CODE, "")
    if not code and is_stdin:
        code = sys.stdin.readline().strip()
        if not code:
            raise ClientError("standard input holds no one-time code")
    if not code and not sys.stdin.isatty():
        raise ClientError(f"there is no terminal to ask for a one-time code; set {ONE_TIME_CODE}")
    return code or input("One-time code: ").strip()


def mail_code(*, is_stdin: bool) -> str:
    """The code of a mail: the next line of standard input, or asked for. Raises ClientError."""
    return _first_line("code") if is_stdin else _ask("Code of the mail: ", "use --code-stdin")


def _first_line(what: str = "password") -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise ClientError(f"standard input holds no {what}")
    return line


def _ask(prompt: str, instead: str = "use --password-stdin or --generate") -> str:
    if not sys.stdin.isatty():
        raise ClientError(f"there is no terminal to ask for a {'code' if 'Code' in prompt else 'password'}; {instead}")
    return getpass.getpass(prompt)

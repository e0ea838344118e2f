"""`entrepot user totp`: one-time codes beside the password."""

from __future__ import annotations

from typing import Any

import cyclopts
import segno

from entrepot.cli.output import clean, print_json
from entrepot.cli.secrets import FromStdin, one_time_code, own_password
from entrepot.cli.target import Anywhere, Where, find_server, open_api
from entrepot.client.api import call, path_of
from entrepot.client.http import Server

app = cyclopts.App(name="totp", help="Ask for a one-time code of an authenticator beside the password.")
THERE = Where()
HERE = Anywhere()


@app.command
def enable(name: str, /, *, password_stdin: FromStdin = False, where: Where = THERE) -> None:
    """Make the secret for your authenticator and show it as a picture; then confirm it with a code."""
    api = find_server(where)
    made = call(api, "POST", path_of("users", name, "totp"), {"password": _password(api, is_stdin=password_stdin)})
    if where.json:
        print_json(made)
        return
    segno.make(made["uri"], error="m").terminal(compact=True)
    print(f"or type this secret into your authenticator: {clean(made['secret'])}")
    print(f"then confirm with the code that it shows: entrepot user totp confirm {clean(name)}")


@app.command
def confirm(name: str, /, *, code_stdin: FromStdin = False, where: Where = THERE) -> None:
    """Ask for codes from now on; prints ten recovery codes for when the authenticator is lost."""
    api = find_server(where)
    document = {"code": one_time_code(is_stdin=code_stdin)}
    made = call(api, "POST", path_of("users", name, "totp", "confirm"), document)
    _show(made, is_json=where.json)
    if not where.json:
        print(f"log in again, with a code: entrepot login {api.address}")


@app.command(name="recovery-codes")
def recovery_codes(name: str, /, *, password_stdin: FromStdin = False, where: Where = THERE) -> None:
    """Make ten other recovery codes; asks for the password and a code."""
    api = find_server(where)
    made = call(api, "POST", path_of("users", name, "totp", "recovery-codes"), _proof(api, is_stdin=password_stdin))
    _show(made, is_json=where.json)


@app.command
def disable(name: str, /, *, password_stdin: FromStdin = False, where: Anywhere = HERE) -> None:
    """Ask for codes no more: your own by password and code; anybody's as an administrator."""
    with open_api(where) as api:
        is_own = isinstance(api, Server) and api.login is not None and api.login.username == name
        proof = _proof(api, is_stdin=password_stdin) if is_own and isinstance(api, Server) else {}
        call(api, "POST", path_of("users", name, "totp", "disable"), proof)
    if where.json:
        print_json({"name": name})
    else:
        print(f"{clean(name)} is asked for no more codes")


@app.command
def status(name: str, /, *, where: Anywhere = HERE) -> None:
    """Say whether a user is asked for codes, and how many recovery codes are left."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("users", name, "totp"))
    if where.json:
        print_json(found)
    elif found["enabled"]:
        print(f"{clean(name)} is asked for codes; {found['recovery_codes']} recovery codes are left")
    else:
        print(f"{clean(name)} is not asked for codes")


def _password(api: Server, *, is_stdin: bool) -> str:
    return own_password(api.login.password if api.login else "", is_stdin=is_stdin)


def _proof(api: Server, *, is_stdin: bool) -> dict[str, str]:
    return {"password": _password(api, is_stdin=is_stdin), "code": one_time_code(is_stdin=is_stdin)}


def _show(made: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_json(made)
        return
    print("keep these recovery codes; each is good once, where a code is asked for:")
    for code in made["recovery_codes"]:
        print(f"  {clean(code)}")

"""`entrepot login`, `logout` and `whoami`."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

from entrepot.cli.device import NO_PAGE, ByPage
from entrepot.cli.output import clean, print_json
from entrepot.cli.secrets import FromStdin, known_password, one_time_code
from entrepot.cli.target import PASSWORD, SERVER, USERNAME, Where, find_server
from entrepot.client.api import call, path_of
from entrepot.client.credentials import CredentialsFile, Login
from entrepot.client.errors import ClientError
from entrepot.client.http import Server, parse_server

THERE = Where()
TOKEN_DAYS: Final = 7
Address = Annotated[str | None, Parameter(help="Address of the server, such as https://registry.example.com.")]


def login(
    address: Address = None,
    /,
    *,
    username: Annotated[
        str | None, Parameter(name=("--username", "-u"), help="The user; asked for if it is not given.")
    ] = None,
    password_stdin: FromStdin = False,
    page: ByPage = NO_PAGE,
    where: Where = THERE,
) -> None:
    """Log in to a server, and use it where none is named; kept in a file that only you can read."""
    server = parse_server(_required(address or where.server or os.environ.get(SERVER)))
    file = CredentialsFile(os.environ)
    kept = file.load().servers.get(server, Login())
    if page.is_wanted:
        if username or password_stdin:
            raise ClientError("a page asks who you are: --device goes without --username and --password-stdin")
        new = page.log_in(server, str(where.ca.resolve()) if where.ca else kept.ca)
        file.put(server, new)
        _tell(server, call(Server(server, new), "GET", path_of("whoami")), where)
        return
    name = username or os.environ.get(USERNAME) or _ask_name()
    password = None if password_stdin else os.environ.get(PASSWORD)
    password = password or known_password(is_stdin=password_stdin, prompt=f"Password of {name}: ")
    new = Login(name, password, str(where.ca.resolve()) if where.ca else kept.ca)
    new, me = _enter(server, new, is_stdin=password_stdin)
    file.put(server, new)
    _tell(server, me, where)


def _tell(server: str, me: dict[str, Any], where: Where) -> None:
    if urlsplit(server).scheme == "http" and urlsplit(server).hostname not in {"localhost", "127.0.0.1", "::1"}:
        print("entrepot: warning: http sends your password readable by anybody on the way", file=sys.stderr)
    if where.json:
        print_json({"server": server, **me})
    else:
        print(f"logged in to {server} as {clean(me['name'])}")


def logout(address: Address = None, /, *, where: Where = THERE) -> None:
    """Forget the login of a server."""
    file = CredentialsFile(os.environ)
    server = parse_server(_required(address or where.server or os.environ.get(SERVER) or file.load().current))
    if not file.remove(server):
        raise ClientError(f"you are not logged in to {server}")
    if where.json:
        print_json({"server": server})
    else:
        print(f"logged out of {server}")


def whoami(*, where: Where = THERE) -> None:
    """Show who you are on the server."""
    server = find_server(where)
    me = call(server, "GET", path_of("whoami"))
    if where.json:
        print_json({"server": server.address, **me})
        return
    print(f"{clean(me['name'])}{' (administrator)' if me['administrator'] else ''} on {server.address}")
    for organisation in me.get("organisations") or []:
        print(f"{organisation['role']} of {clean(organisation['name'])}")
    for team in me.get("teams") or []:
        print(f"in the team {clean(team)}")


def _enter(server: str, login: Login, *, is_stdin: bool) -> tuple[Login, dict[str, Any]]:
    """What is kept of a login, and who that is; with a one-time code it is a personal token for a week."""
    try:
        return login, call(Server(server, login), "GET", path_of("whoami"))
    except ClientError as error:
        if error.code == "ENROLMENT_NEEDED":
            # Kept: setting them up is what the password is still good for.
            print(f"entrepot: warning: {error}", file=sys.stderr)
            return login, {"name": login.username, "administrator": False}
        if error.code != "CODE_NEEDED":
            raise
    code = one_time_code(is_stdin=is_stdin)
    now = time.strftime("%Y-%m-%d %H.%M.%S", time.gmtime())
    new = {"name": f"entrepot login {now}", "scopes": ["admin"], "days": TOKEN_DAYS}
    made = call(Server(server, login, code), "POST", path_of("users", login.username, "tokens"), new)
    held = msgspec.structs.replace(login, password=made["secret"])
    return held, call(Server(server, held), "GET", path_of("whoami"))


def _required(address: str | None) -> str:
    if not address:
        raise ClientError("no server is named; give its address, such as https://registry.example.com")
    return address


def _ask_name() -> str:
    if not sys.stdin.isatty():
        raise ClientError("there is no terminal to ask for the user; use --username")
    return input("User: ")

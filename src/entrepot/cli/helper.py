"""`docker-credential-entrepot`: hands docker, podman and skopeo a login password for servers that we are logged in to.

The protocol is that of docker-credential-helpers: one word says what to do, standard input names the server, errors go
to standard output with exit code 1.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from entrepot import __version__
from entrepot.cli.output import clean
from entrepot.cli.target import SERVER, Where, find_server
from entrepot.client.api import call, path_of
from entrepot.client.credentials import CredentialsFile, Handed, Login, Logins
from entrepot.client.errors import ClientError
from entrepot.client.http import Server, parse_server

NOT_FOUND: Final = "credentials not found in native keychain"
NO_SERVER: Final = "no credentials server URL"
NO_USERNAME: Final = "no credentials username"
USAGE: Final = "Usage: docker-credential-entrepot <get|store|erase|list|version>"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# A password is replaced when a tenth of its time is left: what begins with it has time to end.
USED: Final = 0.9


class Credentials(msgspec.Struct, rename={"server": "ServerURL", "username": "Username", "secret": "Secret"}):
    """What the protocol carries."""

    server: str = ""
    username: str = ""
    secret: str = ""


def get(text: str) -> str:
    """Name and password for a server."""
    asked = _required(text)
    file = CredentialsFile(os.environ)
    logins = file.load()
    address = _find(logins, asked)
    handed, login = logins.handed.get(address), _login(logins, address)
    if handed is None or not _is_good(handed, login):
        handed = _make(address, login)
        with suppress(ClientError):
            # Where nothing can be kept, such as in a build without a home, each time makes a new one.
            file.hand(address, handed)
    return _encode(Credentials(asked, handed.username, handed.secret))


def store(text: str) -> str:
    """Keep what a client logged in with."""
    try:
        given = msgspec.json.decode(text, type=Credentials)
    except msgspec.MsgspecError:
        raise ClientError("standard input is not the JSON of the protocol") from None
    if not given.username:
        raise ClientError(NO_USERNAME)
    asked, file = _required(given.server), CredentialsFile(os.environ)
    try:
        address = _find(file.load(), asked)
    except ClientError:
        address = _address(asked)
    file.hand(address, Handed(given.username, given.secret))
    return ""


def erase(text: str) -> str:
    """Forget a server, the login that passwords for it are made with included."""
    file = CredentialsFile(os.environ)
    file.remove(_find(file.load(), _required(text)))
    return ""


def list_(text: str) -> str:
    """Every server with the name that is used there."""
    del text
    logins = CredentialsFile(os.environ).load()
    names = {address: login.username for address, login in logins.servers.items()}
    return _encode(names | {address: handed.username for address, handed in logins.handed.items()})


def version(text: str) -> str:
    """Which program this is."""
    del text
    return f"docker-credential-entrepot (entrepot) {__version__}"


VERBS: Final[Mapping[str, Callable[[str], str]]] = {
    "get": get,
    "store": store,
    "erase": erase,
    "list": list_,
    "version": version,
}


def main() -> None:
    """Do what the one argument says; clients read errors from standard output."""
    verb = VERBS.get(sys.argv[1]) if sys.argv[1:] else None
    if verb is None or sys.argv[2:]:
        print(USAGE)
        raise SystemExit(1)
    try:
        answer = verb("" if verb in {list_, version} else sys.stdin.read().strip())
    except ClientError as error:
        print(clean(str(error)))
        raise SystemExit(1) from None
    if answer:
        print(answer)


def _find(logins: Logins, asked: str) -> str:
    # The login of the environment is for the server that the environment names, never for another one.
    named = os.environ.get(SERVER)
    known: Iterable[str] = [*([parse_server(named)] if named else []), *logins.servers, *logins.handed]
    wanted = _address(asked)
    for address in known:
        if _place(address, address) == _place(wanted, address):
            return address
    raise ClientError(NOT_FOUND)


def _place(address: str, like: str) -> tuple[str | None, int]:
    # A name without a port means the usual one of the scheme that the known server has.
    parts = urlsplit(address)
    return parts.hostname, parts.port or (80 if urlsplit(like).scheme == "http" else 443)


def _address(asked: str) -> str:
    # Clients ask for `host:port`, docker also for `https://host:port` and, long ago, with a path behind it.
    bare = asked.partition("://")[2] or asked
    address = parse_server(f"https://{bare.partition('/')[0]}")
    is_near = urlsplit(address).hostname in LOOPBACK
    return address.replace("https", "http", 1) if is_near else address


def _login(logins: Logins, address: str) -> Login:
    named = os.environ.get(SERVER)
    if named and parse_server(named) == address:
        return find_server(Where(server=address)).login or Login()
    return logins.servers.get(address, Login())


def _is_good(handed: Handed, login: Login) -> bool:
    if not handed.until:
        return True
    return handed.until > time.time() and handed.username == login.username


def _make(address: str, login: Login) -> Handed:
    if not login.username:
        raise ClientError(NOT_FOUND)
    made = call(Server(address, login), "POST", path_of("login-password"), {})
    now = time.time()
    ends = datetime.fromisoformat(made["expires_at"]).timestamp()
    return Handed(made["username"], made["password"], now + (ends - now) * USED)


def _required(server: str) -> str:
    if not server:
        raise ClientError(NO_SERVER)
    return server


def _encode(document: object) -> str:
    return msgspec.json.encode(document).decode()

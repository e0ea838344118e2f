"""Where a command works: on a server, or on the files of this machine."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from entrepot.client.api import Api
from entrepot.client.credentials import CredentialsFile, Login, Logins
from entrepot.client.errors import ClientError
from entrepot.client.http import Server, parse_server

SERVER: Final = "ENTREPOT_SERVER_URL"
DATA: Final = "ENTREPOT_DATA"
CONFIG: Final = "ENTREPOT_CONFIG"
USERNAME: Final = "ENTREPOT_USERNAME"
PASSWORD: Final = "ENTREPOT_PASSWORD"  # noqa: S105 - the name of a variable, not a secret
DEFAULT_DATABASE: Final = "data/entrepot.db"


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """A server to work on."""

    server: Annotated[
        str | None, Parameter(help="Address of the server, else ENTREPOT_SERVER_URL or the last login.")
    ] = None
    ca: Annotated[pathlib.Path | None, Parameter(help="PEM file of a CA to trust.")] = None
    json: Annotated[bool, Parameter(help="Print JSON.", negative="")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Anywhere(Where):
    """A server to work on, or files of this machine."""

    data: Annotated[pathlib.Path | None, Parameter(help="Work on this data folder instead, beside its server.")] = None
    config: Annotated[pathlib.Path | None, Parameter(help="Work on what this settings file describes instead.")] = None


@contextmanager
def open_api(where: Where) -> Iterator[Api]:
    """The API that a command talks to. Raises ClientError, SettingsError."""
    if not isinstance(where, Anywhere) or not _is_local(where):
        yield find_server(where)
        return
    from entrepot.cli.local import open_local  # noqa: PLC0415 - opening a database needs half of the server

    with open_local(_path(where.config, CONFIG), _path(where.data, DATA)) as api:
        yield api


def find_server(where: Where) -> Server:
    """The server that is meant, with the login for it. Raises ClientError."""
    logins = CredentialsFile(os.environ).load()
    named = where.server or os.environ.get(SERVER) or logins.current
    if not named:
        choice = ", or --data DIR to work on files of this machine" if isinstance(where, Anywhere) else ""
        raise ClientError(f"no server is named: log in with `entrepot login ADDRESS`, give --server ADDRESS{choice}")
    address = parse_server(named)
    return Server(address, _login(where, logins, address))


def _login(where: Where, logins: Logins, address: str) -> Login:
    kept = logins.servers.get(address, Login())
    ca = str(where.ca) if where.ca else kept.ca
    username, password = os.environ.get(USERNAME), os.environ.get(PASSWORD)
    if username and password:
        return Login(username, password, ca)
    return Login(kept.username, kept.password, ca)


def _is_local(where: Anywhere) -> bool:
    if where.server:
        return False
    if where.data or where.config:
        return True
    if os.environ.get(SERVER):
        return False
    if os.environ.get(DATA) or os.environ.get(CONFIG):
        return True
    # Whoever has not logged in anywhere and stands beside a data folder means that one, as `entrepot serve` does.
    return not CredentialsFile(os.environ).load().current and pathlib.Path(DEFAULT_DATABASE).exists()


def _path(given: pathlib.Path | None, variable: str) -> pathlib.Path | None:
    text = os.environ.get(variable)
    return given or (pathlib.Path(text) if text else None)

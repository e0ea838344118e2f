"""What `entrepot login` keeps: one file that only its owner can read, as docker and podman keep theirs."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Mapping

import msgspec

from entrepot.client.errors import ClientError


class Login(msgspec.Struct, frozen=True):
    """How to log in to one server; `ca` is a PEM file to trust, empty for those of the system."""

    username: str = ""
    password: str = ""
    ca: str = ""


class Handed(msgspec.Struct, frozen=True):
    """What clients such as docker are handed for a server, until a time (seconds since 1970; 0 for ever)."""

    username: str
    secret: str
    until: float = 0.0


class Logins(msgspec.Struct, frozen=True):
    """Every server that was logged in to, by address, and the one used where none is named; what clients are handed."""

    current: str = ""
    servers: dict[str, Login] = {}
    handed: dict[str, Handed] = {}


class CredentialsFile:
    """The file below `$XDG_CONFIG_HOME/entrepot`, written whole and with mode 0600."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME") or "~", ".config")
        self.path = pathlib.Path(home).expanduser() / "entrepot" / "credentials.json"

    def load(self) -> Logins:
        """What is kept; nothing, if there is no file. Raises ClientError."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Logins)
        except (FileNotFoundError, NotADirectoryError):
            return Logins()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            raise ClientError(f"cannot read {self.path}; remove it and log in again") from None

    def put(self, server: str, login: Login) -> None:
        """Remember a server, which is the current one from here on. Raises ClientError."""
        kept = self.load()
        # What was made with the login before must not outlive it here.
        handed = {address: each for address, each in kept.handed.items() if address != server}
        self._save(Logins(server, {**kept.servers, server: login}, handed))

    def hand(self, server: str, handed: Handed) -> None:
        """Remember what clients are handed for a server, which need not be one that was logged in to."""
        kept = self.load()
        self._save(Logins(kept.current, kept.servers, {**kept.handed, server: handed}))

    def remove(self, server: str) -> bool:
        """Forget a server; whether it was known. Raises ClientError."""
        kept = self.load()
        servers = {address: login for address, login in kept.servers.items() if address != server}
        handed = {address: each for address, each in kept.handed.items() if address != server}
        if (servers, handed) == (kept.servers, kept.handed):
            return False
        self._save(Logins(kept.current if kept.current in servers else next(iter(servers), ""), servers, handed))
        return True

    def _save(self, logins: Logins) -> None:
        content = msgspec.json.format(msgspec.json.encode(logins))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes its file with mode 0600; a reader sees the old file or the new one.
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".credentials-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content + b"\n")
            os.replace(name, self.path)
        except OSError as error:
            raise ClientError(f"cannot write {self.path}: {error.strerror}") from None

"""The typed settings: what a process needs to start, read once; the only reader of files and environment."""

from __future__ import annotations

import ipaddress
import math
import os
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

PREFIX: Final = "ENTREPOT_"
LARGEST_PORT: Final = 65535
MOST_WORKERS: Final = 4
MOST_LDAP_SECONDS: Final = 60
CPU_QUOTA: Final = pathlib.Path("/sys/fs/cgroup/cpu.max")


class SettingsError(Exception):
    """A key or value that is refused; the message names its path."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file. Field docs are in docs/settings.md, which a test compares with these."""


class Server(Section, frozen=True):
    """Where and how the server listens."""

    listen: str = "127.0.0.1:5000"
    public_url: str = ""
    trusted_proxies: list[str] = []
    workers: int = 0
    connections: int = 8192
    stop_seconds: int = 30
    header_seconds: int = 30
    header_bytes: int = 131072

    @property
    def worker_count(self) -> int:
        """How many HTTP workers run: as set, else one for each core that may be used, four at most."""
        return self.workers or min(usable_cores(), MOST_WORKERS)


class Tls(Section, frozen=True):
    """Encryption of what clients send; both files, or `auto`, or neither."""

    certificate: str = ""
    key: str = ""
    auto: bool = False
    oldest: str = "tls1.2"


class Database(Section, frozen=True):
    """The metadata database."""

    url: str = ""


class Storage(Section, frozen=True):
    """The blob store."""

    url: str = ""


class Limits(Section, frozen=True):
    """Bounds of what one client may ask for."""

    manifest_bytes: int = 4 << 20
    blob_bytes: int = 0
    body_idle_seconds: float = 60.0
    body_bytes_per_second: int = 1024
    open_uploads: int = 10_000
    upload_seconds: int = 86_400


class Push(Section, frozen=True):
    """What a push may leave out."""

    sparse_indexes: bool = True
    sparse_images: bool = False


class Auth(Section, frozen=True):
    """Tokens, and what whoever has an account may do by that."""

    token_seconds: int = 900
    refresh_days: int = 90
    key_days: int = 30
    create_organisations: bool = False


class Ldap(Section, frozen=True):
    """A directory that knows people and their passwords; none unless there are urls. See docs/ldap.md."""

    urls: list[str] = []
    bind_dn: str = ""
    bind_password: str = ""
    bind_password_file: str = ""
    base: str = ""
    user_filter: str = "(uid={name})"
    name_attribute: str = "uid"
    email_attribute: str = "mail"
    member_attribute: str = "memberOf"
    group_base: str = ""
    group_filter: str = ""
    ca: str = ""
    start_tls: bool = True
    timeout_seconds: float = 2.5
    create_accounts: bool = True

    def read_password(self) -> str:
        """The password of the service account: as set, or the first line of its file. Raises SettingsError."""
        if not self.bind_password_file:
            return self.bind_password
        try:
            return pathlib.Path(self.bind_password_file).read_text(encoding="utf-8").partition("\n")[0]
        except OSError as error:
            raise SettingsError(f"ldap.bind_password_file: cannot read it: {error.strerror}") from None


class Federation(Section, frozen=True):
    """Tokens of others."""

    private_addresses: bool = False


class Keep(Section, frozen=True):
    """How long what was replaced or deleted can be brought back."""

    history_days: int = 30
    history_digests: int = 20
    trash_days: int = 7
    grace_seconds: int = 3600


class Log(Section, frozen=True):
    """What is written to standard error, as one JSON document a line."""

    level: str = "info"
    access: bool = True


class Settings(Section, frozen=True):
    """The whole tree. `admin_password` is only looked at when there is no user yet, and never shown."""

    data: str = "data"
    admin_password: str = ""
    server: Server = Server()
    tls: Tls = Tls()
    database: Database = Database()
    storage: Storage = Storage()
    limits: Limits = Limits()
    push: Push = Push()
    auth: Auth = Auth()
    ldap: Ldap = Ldap()
    federation: Federation = Federation()
    keep: Keep = Keep()
    log: Log = Log()

    @property
    def data_path(self) -> pathlib.Path:
        """The data folder, absolute."""
        return pathlib.Path(self.data).resolve()

    @property
    def database_url(self) -> str:
        """Where the database is: as set, else in the data folder."""
        return self.database.url or f"sqlite://{self.data_path / 'entrepot.db'}"

    @property
    def storage_url(self) -> str:
        """Where the blobs are: as set, else in the data folder."""
        return self.storage.url or f"file://{self.data_path / 'blobs'}"


def load(
    config: pathlib.Path | None, data: pathlib.Path | None, listen: str | None, environment: Mapping[str, str]
) -> Settings:
    """Settings from a TOML file, then the environment, then the command line, each stronger than the one before.

    Raises SettingsError with the path of the key.
    """
    tree = _read(config) if config is not None else {}
    for name, value in environment.items():
        if name.startswith(PREFIX):
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), value)
    if data is not None:
        tree["data"] = str(data)
    if listen is not None:
        _put(tree, ["server", "listen"], listen)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(error)) from None
    _require_sense(settings)
    return settings


def parse_listen(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`, with IPv6 in brackets. Raises SettingsError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > LARGEST_PORT:
        raise SettingsError(f"server.listen must be HOST:PORT, such as 127.0.0.1:5000, not {text!r}")
    return host, int(port)


def usable_cores(quota: pathlib.Path = CPU_QUOTA) -> int:
    """Cores that this process may keep busy: its affinity, and what a container is allowed (cgroup v2, cpu.max)."""
    cores = len(os.sched_getaffinity(0))
    try:
        most, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(most) / int(period))))
    except (OSError, ValueError):
        # No cgroup of version 2, or the quota "max".
        return cores


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


# Read by the command line's client, not by a server.
FOREIGN: Final = frozenset({"server_url", "username", "password"})
LISTS: Final = frozenset({"trusted_proxies", "urls"})


def _put(tree: dict[str, Any], keys: list[str], value: str) -> None:
    if keys[0] in FOREIGN:
        return
    for key in keys[:-1]:
        inner = tree.setdefault(key, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{'.'.join(keys)}: {key} is a value, not a table")
        tree = inner
    tree[keys[-1]] = [part.strip() for part in value.split(",") if part.strip()] if keys[-1] in LISTS else value


def _explain(error: msgspec.ValidationError) -> str:
    message, _, path = str(error).partition(" - at `$")
    place = path.rstrip("`").lstrip(".")
    return f"{place}: {message}" if place else message


def _require_network(text: str) -> None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise SettingsError(
            f"server.trusted_proxies: {text!r} is not an address or network, such as 10.0.0.0/8"
        ) from None


def _require_directory(ldap: Ldap) -> None:
    for url in ldap.urls:
        _require_ldap_url(url)
    if ldap.urls and not ldap.base:
        raise SettingsError("ldap.base is needed: where people are looked for, such as ou=people,dc=example,dc=org")
    if ldap.bind_password and ldap.bind_password_file:
        raise SettingsError("ldap.bind_password and ldap.bind_password_file exclude each other")
    if ldap.urls and bool(ldap.bind_dn) != bool(ldap.bind_password or ldap.bind_password_file):
        raise SettingsError("ldap.bind_dn needs ldap.bind_password or ldap.bind_password_file, and they need it")
    if not ldap.name_attribute:
        raise SettingsError("ldap.name_attribute is needed: what names of accounts are made of, such as uid")
    _require_filter("ldap.user_filter", ldap.user_filter, "{name}")
    if ldap.group_filter:
        _require_filter("ldap.group_filter", ldap.group_filter, "{dn}", "{name}")
    if not 0 < ldap.timeout_seconds <= MOST_LDAP_SECONDS:
        raise SettingsError(f"ldap.timeout_seconds is more than 0 and at most {MOST_LDAP_SECONDS}")


def _require_ldap_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"ldap", "ldaps"} and bool(parts.hostname) and parts.port != 0
        is_good = is_good and not (parts.username or parts.path.strip("/") or parts.query or parts.fragment)
    except ValueError:
        is_good = False
    if not is_good:
        # It may hold a password by mistake.
        raise SettingsError("ldap.urls: each is ldap://HOST, ldaps://HOST or with :PORT behind it, and nothing more")


def _require_filter(key: str, text: str, *placeholders: str) -> None:
    is_balanced = text.startswith("(") and text.endswith(")") and text.count("(") == text.count(")")
    if not is_balanced or not any(placeholder in text for placeholder in placeholders):
        raise SettingsError(
            f"{key}: an LDAP filter in parentheses with {' or '.join(placeholders)} in it, not {text!r}"
        )


def _require_sense(settings: Settings) -> None:
    parse_listen(settings.server.listen)
    _require_directory(settings.ldap)
    for proxy in settings.server.trusted_proxies:
        _require_network(proxy)
    if bool(settings.tls.certificate) != bool(settings.tls.key):
        raise SettingsError("tls.certificate and tls.key belong together: set both or neither")
    if settings.tls.auto and settings.tls.certificate:
        raise SettingsError("tls.auto makes a certificate of its own: leave tls.certificate and tls.key empty")
    for path, value in (
        ("server.connections", settings.server.connections),
        ("limits.manifest_bytes", settings.limits.manifest_bytes),
        ("limits.open_uploads", settings.limits.open_uploads),
        ("limits.upload_seconds", settings.limits.upload_seconds),
        ("auth.token_seconds", settings.auth.token_seconds),
        ("auth.refresh_days", settings.auth.refresh_days),
        ("auth.key_days", settings.auth.key_days),
    ):
        if value < 1:
            raise SettingsError(f"{path} must be at least 1, not {value}")
    if settings.server.workers < 0:
        raise SettingsError(
            f"server.workers is a number of processes, or 0 for one a core, not {settings.server.workers}"
        )
    if settings.log.level not in {"debug", "info", "warning", "error"}:
        raise SettingsError(f"log.level is debug, info, warning or error, not {settings.log.level!r}")
    if settings.tls.oldest not in {"tls1.2", "tls1.3"}:
        raise SettingsError(f"tls.oldest is tls1.2 or tls1.3, not {settings.tls.oldest!r}")

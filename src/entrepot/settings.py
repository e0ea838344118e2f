"""The typed settings: what a process needs to start, read once; the only reader of files and environment."""

from __future__ import annotations

import math
import os
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from entrepot.settings_sense import MAIN, SettingsError, require_sense

PREFIX: Final = "ENTREPOT_"
MOST_WORKERS: Final = 4
CPU_QUOTA: Final = pathlib.Path("/sys/fs/cgroup/cpu.max")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file. Field docs are in docs/settings.md, which a test compares with these."""


class Server(Section, frozen=True):
    """Where and how the server listens."""

    listen: str = "127.0.0.1:5000"
    public_url: str = ""
    trusted_proxies: list[str] = []
    allow_networks: list[str] = []
    deny_networks: list[str] = []
    client_certificate_header: str = ""
    client_certificate_format: Literal["xfcc", "pem", "subject"] = "xfcc"
    workers: int = 0
    connections: int = 8192
    drain_seconds: int = 0
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


class Listener(Section, frozen=True):
    """One more address to listen on, or as `main` more about `server.listen`. See docs/listeners.md."""

    address: str = ""
    tls: Literal["inherit", "off"] = "inherit"
    certificate: str = ""
    key: str = ""
    client_certificates: Literal["off", "optional", "required"] = "off"
    client_ca: str = ""
    client_crl: str = ""
    proxy_protocol: bool = False
    proxies: list[str] = []
    public_url: str = ""


class Database(Section, frozen=True):
    """The metadata database; all but its url is for one over a network. See docs/databases.md."""

    url: str = ""
    cache_bytes: int = 32 << 20
    away_seconds: int = 3600


class Storage(Section, frozen=True):
    """The blob store, and which clients fetch from it by themselves. See docs/object-stores.md."""

    url: str = ""
    redirect: Literal["never", "always", "rules"] = "never"
    redirect_seconds: int = 1800
    redirect_listeners: list[str] = []
    redirect_networks: list[str] = []
    stream_networks: list[str] = []
    stream_clients: list[str] = []


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
    lockout_failures: int = 10
    lockout_seconds: int = 900
    sign_on_hours: int = 12
    require_totp: Literal["off", "administrators", "everyone"] = "off"
    registration: Literal["off", "invited", "domain", "open"] = "off"
    registration_domains: list[str] = []


class Mail(Section, frozen=True):
    """The server that takes mail for people; none unless there is a url. See docs/people.md."""

    url: str = ""
    sender: str = ""
    start_tls: bool = True
    credentials_file: str = ""
    ca: str = ""

    def read_credentials(self) -> tuple[str, str]:
        """(user name, password): the first two lines of the file, empty without one. Raises SettingsError."""
        if not self.credentials_file:
            return "", ""
        try:
            lines = pathlib.Path(self.credentials_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise SettingsError(f"mail.credentials_file: cannot read {self.credentials_file}: {reason}") from None
        if len(lines) < 2 or not lines[0] or not lines[1]:  # noqa: PLR2004 - two lines
            raise SettingsError("mail.credentials_file: its first line is the user name, its second the password")
        return lines[0], lines[1]


class Rate(Section, frozen=True):
    """How often somebody may ask, in requests a minute; 0 for any number. See docs/abuse.md."""

    address_per_minute: int = 0
    anonymous_per_minute: int = 0
    identity_per_minute: int = 0
    exempt: list[str] = []


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
    promise_seconds: int = 86_400
    discard_seconds: int = 60


class Jobs(Section, frozen=True):
    """Work beside requests. See docs/jobs.md."""

    in_serve: bool = True


class Scrub(Section, frozen=True):
    """Reading all blobs again in the background. See docs/integrity.md."""

    bytes_per_second: int = 10 << 20
    days: int = 30


class Audit(Section, frozen=True):
    """The log of who did what. See docs/audit.md."""

    days_in_database: int = 30
    keep_days: int = 400
    key_file: str = ""
    syslog: str = ""
    syslog_ca: str = ""


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
    listeners: dict[str, Listener] = {}
    database: Database = Database()
    storage: Storage = Storage()
    limits: Limits = Limits()
    push: Push = Push()
    auth: Auth = Auth()
    mail: Mail = Mail()
    rate: Rate = Rate()
    ldap: Ldap = Ldap()
    federation: Federation = Federation()
    keep: Keep = Keep()
    scrub: Scrub = Scrub()
    jobs: Jobs = Jobs()
    audit: Audit = Audit()
    log: Log = Log()

    @property
    def all_listeners(self) -> dict[str, Listener]:
        """Every listener by its name, each with its address; `main`, which `server.listen` is, comes first."""
        main = msgspec.structs.replace(self.listeners.get(MAIN, Listener()), address=self.server.listen)
        return {MAIN: main} | {name: listener for name, listener in self.listeners.items() if name != MAIN}

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
    require_sense(settings)
    return settings


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
LISTS: Final = frozenset(
    {
        "trusted_proxies",
        "allow_networks",
        "deny_networks",
        "proxies",
        "urls",
        "registration_domains",
        "exempt",
        "redirect_listeners",
        "redirect_networks",
        "stream_networks",
        "stream_clients",
    }
)


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

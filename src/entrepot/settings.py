"""The typed settings: what a process needs to start, read once; the only reader of files and environment."""

from __future__ import annotations

import ipaddress
import math
import os
import pathlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

PREFIX: Final = "ENTREPOT_"
ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
LARGEST_PORT: Final = 65535
MOST_WORKERS: Final = 4
MOST_LDAP_SECONDS: Final = 60
OBJECT_STORES: Final = frozenset({"s3", "azure", "gs"})
# A signed address outlives the slowest start of a large pull; S3 signs for seven days at most.
SHORTEST_REDIRECT: Final = 1200
LONGEST_REDIRECT: Final = 604_800
MAIN: Final = "main"
# `local` is what requests come by that the command line answers itself.
PUBLIC_URL: Final = re.compile(r"https?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?/?")
# A token (RFC 9110, section 5.6.2).
HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
LISTENER: Final = re.compile(r"(?!local$)[a-z][a-z0-9_-]{0,62}")
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
    _require_sense(settings)
    return settings


def parse_listen(text: str, key: str = "server.listen") -> tuple[str, int]:
    """(host, port) of `HOST:PORT`, with IPv6 in brackets. Raises SettingsError, which names the key."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > LARGEST_PORT:
        raise SettingsError(f"{key} must be HOST:PORT, such as 127.0.0.1:5000, not {text!r}")
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
LISTS: Final = frozenset(
    {
        "trusted_proxies",
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


def _require_network(text: str, key: str = "server.trusted_proxies") -> None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise SettingsError(f"{key}: {text!r} is not an address or network, such as 10.0.0.0/8") from None


def _require_listeners(settings: Settings) -> None:
    for name, listener in settings.listeners.items():
        if not LISTENER.fullmatch(name):
            raise SettingsError(
                f"listeners.{name}: a name is small letters, digits, - and _, beginning with a letter, and not local"
            )
        _require_address(name, listener)
        _require_public_url(listener.public_url, f"listeners.{name}.public_url")
        _require_certificates(settings, f"listeners.{name}", listener)
        if bool(listener.proxies) != listener.proxy_protocol:
            raise SettingsError(
                f"listeners.{name}.proxies says who may send the PROXY protocol: "
                "set it and proxy_protocol = true, or neither"
            )
        for network in listener.proxies:
            _require_network(network, f"listeners.{name}.proxies")
    taken: dict[str, str] = {}
    for name, listener in settings.all_listeners.items():
        if taken.setdefault(listener.address, name) != name:
            raise SettingsError(f"listeners.{name}.address is that of the listener {taken[listener.address]} already")


def _require_address(name: str, listener: Listener) -> None:
    if name != MAIN:
        parse_listen(listener.address, f"listeners.{name}.address")
    elif listener.address or listener.public_url:
        raise SettingsError("listeners.main has no address or public_url: they are server.listen and server.public_url")


def _require_public_url(url: str, key: str) -> None:
    found = PUBLIC_URL.fullmatch(url)
    if url and (found is None or int(found["port"] or 0) > LARGEST_PORT):
        # It may hold a password by mistake.
        raise SettingsError(f"{key} is http://HOST, https://HOST or with :PORT behind it, and nothing more")


def _require_certificates(settings: Settings, key: str, listener: Listener) -> None:
    if bool(listener.certificate) != bool(listener.key):
        raise SettingsError(f"{key}.certificate and {key}.key belong together: set both or neither")
    if listener.tls == "off" and (listener.certificate or listener.client_certificates != "off"):
        raise SettingsError(f"{key}.tls is off: there can be no certificates")
    is_asked = listener.client_certificates != "off"
    if is_asked != bool(listener.client_ca) or (listener.client_crl and not is_asked):
        raise SettingsError(
            f"{key}.client_ca says who signs client certificates: set it and client_certificates, or neither"
        )
    is_secured = listener.certificate or settings.tls.certificate or settings.tls.auto
    if is_asked and not is_secured:
        raise SettingsError(f"{key}.client_certificates needs TLS: set {key}.certificate and key, or those of tls")


def _require_tls(settings: Settings) -> None:
    tls = settings.tls
    if bool(tls.certificate) != bool(tls.key):
        raise SettingsError("tls.certificate and tls.key belong together: set both or neither")
    if tls.auto and tls.certificate:
        raise SettingsError("tls.auto makes a certificate of its own: leave tls.certificate and tls.key empty")
    if tls.auto and all(each.tls == "off" or each.certificate for each in settings.all_listeners.values()):
        raise SettingsError('tls.auto is for no listener: each has tls = "off" or a certificate of its own')


def _require_rates(rate: Rate) -> None:
    for network in rate.exempt:
        _require_network(network, "rate.exempt")
    for key in ("address_per_minute", "anonymous_per_minute", "identity_per_minute"):
        if getattr(rate, key) < 0:
            raise SettingsError(f"rate.{key} is a number of requests, or 0 for any, not {getattr(rate, key)}")


def _require_storage(settings: Settings) -> None:
    storage = settings.storage
    lists = ("redirect_listeners", "redirect_networks", "stream_networks", "stream_clients")
    is_narrowed = any(getattr(storage, name) for name in lists)
    if is_narrowed != (storage.redirect == "rules"):
        raise SettingsError(f'storage.redirect = "rules" and one of storage.{", ".join(lists)} belong together')
    if storage.redirect != "never" and settings.storage_url.partition("://")[0] not in OBJECT_STORES:
        raise SettingsError("storage.redirect is for object stores: storage.url must be one, such as s3://BUCKET")
    if not SHORTEST_REDIRECT <= storage.redirect_seconds <= LONGEST_REDIRECT:
        raise SettingsError(f"storage.redirect_seconds is {SHORTEST_REDIRECT} to {LONGEST_REDIRECT}")
    for key in ("redirect_networks", "stream_networks"):
        for network in getattr(storage, key):
            _require_network(network, f"storage.{key}")
    for name in storage.redirect_listeners:
        if name not in settings.all_listeners:
            raise SettingsError(f"storage.redirect_listeners: there is no listener {name!r}")


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


def _require_mail(settings: Settings) -> None:
    mail, auth = settings.mail, settings.auth
    try:
        parts = urlsplit(mail.url)
        is_good = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
        is_good = is_good and not (parts.username or parts.path.strip("/") or parts.query or parts.fragment)
    except ValueError:
        is_good = False
    if mail.url and not is_good:
        # It may hold a password by mistake.
        raise SettingsError("mail.url is smtp://HOST, smtps://HOST or with :PORT behind it, and nothing more")
    if mail.url and not ADDRESS.fullmatch(mail.sender):
        raise SettingsError("mail.sender is needed: the address that mails are from, such as registry@example.com")
    if auth.registration != "off" and not mail.url:
        raise SettingsError("auth.registration needs mail.url: whoever registers gets a code by mail")
    if (auth.registration == "domain") != bool(auth.registration_domains):
        raise SettingsError('auth.registration_domains and auth.registration = "domain" belong together')


def _require_server(server: Server) -> None:
    for proxy in server.trusted_proxies:
        _require_network(proxy)
    _require_public_url(server.public_url, "server.public_url")
    header = server.client_certificate_header
    if header and not HEADER.fullmatch(header):
        raise SettingsError(f"server.client_certificate_header is the name of a header, not {header!r}")
    if header and not server.trusted_proxies:
        raise SettingsError("server.client_certificate_header is read from server.trusted_proxies only: name them")
    if server.client_certificate_format != "xfcc" and not header:
        raise SettingsError("server.client_certificate_format is of server.client_certificate_header: set both")
    if server.workers < 0:
        raise SettingsError(f"server.workers is a number of processes, or 0 for one a core, not {server.workers}")


def _require_audit(audit: Audit) -> None:
    if audit.keep_days and audit.keep_days < audit.days_in_database:
        raise SettingsError("audit.keep_days is at least audit.days_in_database, or 0 to keep everything")
    if audit.syslog:
        _require_syslog(audit.syslog)


def _require_syslog(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"udp", "tcp", "tls"} and bool(parts.hostname) and bool(parts.port)
        is_good = is_good and not (parts.username or parts.path.strip("/") or parts.query or parts.fragment)
    except ValueError:
        is_good = False
    if not is_good:
        raise SettingsError(f"audit.syslog is udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT, not {url!r}")


def _require_sense(settings: Settings) -> None:
    parse_listen(settings.server.listen)
    _require_mail(settings)
    _require_directory(settings.ldap)
    _require_listeners(settings)
    _require_server(settings.server)
    _require_rates(settings.rate)
    _require_storage(settings)
    _require_audit(settings.audit)
    _require_tls(settings)
    for path, value in (
        ("server.connections", settings.server.connections),
        ("limits.manifest_bytes", settings.limits.manifest_bytes),
        ("limits.open_uploads", settings.limits.open_uploads),
        ("limits.upload_seconds", settings.limits.upload_seconds),
        ("auth.token_seconds", settings.auth.token_seconds),
        ("auth.refresh_days", settings.auth.refresh_days),
        ("auth.key_days", settings.auth.key_days),
        ("auth.sign_on_hours", settings.auth.sign_on_hours),
        ("auth.lockout_seconds", settings.auth.lockout_seconds),
        ("audit.days_in_database", settings.audit.days_in_database),
        ("scrub.days", settings.scrub.days),
    ):
        if value < 1:
            raise SettingsError(f"{path} must be at least 1, not {value}")
    if settings.scrub.bytes_per_second < 0:
        raise SettingsError(
            f"scrub.bytes_per_second is a number of bytes, or 0 for none, not {settings.scrub.bytes_per_second}"
        )
    if settings.auth.lockout_failures < 0:
        raise SettingsError(
            f"auth.lockout_failures is a number of wrong passwords, or 0 for any, not {settings.auth.lockout_failures}"
        )
    for path, number in (
        ("database.cache_bytes", settings.database.cache_bytes),
        ("database.away_seconds", settings.database.away_seconds),
    ):
        if number < 0:
            raise SettingsError(f"{path} must be at least 1, or 0 for none, not {number}")
    if settings.log.level not in {"debug", "info", "warning", "error"}:
        raise SettingsError(f"log.level is debug, info, warning or error, not {settings.log.level!r}")
    if settings.tls.oldest not in {"tls1.2", "tls1.3"}:
        raise SettingsError(f"tls.oldest is tls1.2 or tls1.3, not {settings.tls.oldest!r}")

"""What settings must be, beyond their types: each value by itself, and those that belong together."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from entrepot.settings import Audit, Ldap, Listener, Rate, Server, Settings

ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
LARGEST_PORT: Final = 65535
MOST_LDAP_SECONDS: Final = 60
OBJECT_STORES: Final = frozenset({"s3", "azure", "gs"})
# A signed address outlives the slowest start of a large pull; S3 signs for seven days at most.
SHORTEST_REDIRECT: Final = 1200
LONGEST_REDIRECT: Final = 604_800
MAIN: Final = "main"
PUBLIC_URL: Final = re.compile(r"https?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?/?")
# A token (RFC 9110, section 5.6.2).
HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# `local` is what requests come by that the command line answers itself.
LISTENER: Final = re.compile(r"(?!local$)[a-z][a-z0-9_-]{0,62}")


class SettingsError(Exception):
    """A key or value that is refused; the message names its path."""


def require_sense(settings: Settings) -> None:
    """Refuse values that make no sense, alone or together. Raises SettingsError."""
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


def parse_listen(text: str, key: str = "server.listen") -> tuple[str, int]:
    """(host, port) of `HOST:PORT`, with IPv6 in brackets. Raises SettingsError, which names the key."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > LARGEST_PORT:
        raise SettingsError(f"{key} must be HOST:PORT, such as 127.0.0.1:5000, not {text!r}")
    return host, int(port)


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
    for network in server.allow_networks:
        _require_network(network, "server.allow_networks")
    for network in server.deny_networks:
        _require_network(network, "server.deny_networks")
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

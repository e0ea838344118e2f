"""Settings: from a file, the environment and the command line, each key refused early with its path."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

import msgspec
import pytest

from entrepot.settings import MOST_WORKERS, Ldap, Listener, Server, Settings, load, usable_cores
from entrepot.settings_sense import SettingsError, parse_listen

LDAP = "[ldap]\nurls = ['ldap://host']\nbase = 'dc=x'\n"
BUCKET = "[storage]\nurl = 's3://bucket'\n"
PROXIED = "[server]\ntrusted_proxies = ['10.0.0.2']\nclient_certificate_header = "
MAIL = "[mail]\nurl = 'smtp://host'\nsender = 'registry@example.com'\n"


def settings(tmp_path: pathlib.Path, text: str = "", environment: Mapping[str, str] | None = None) -> Settings:
    """Settings out of a file and an environment."""
    path = tmp_path / "entrepot.toml"
    path.write_text(text)
    return load(path, None, None, environment or {})


def test_the_stronger_source_wins(tmp_path: pathlib.Path) -> None:
    """The file, then the environment, then the command line."""
    path = tmp_path / "entrepot.toml"
    path.write_text('data = "file"\n[server]\nlisten = "127.0.0.1:1"\nworkers = 2\n[log]\nlevel = "debug"\n')
    environment = {"ENTREPOT_SERVER__LISTEN": "127.0.0.1:2", "ENTREPOT_LOG__LEVEL": "error", "OTHER": "x"}
    found = load(path, pathlib.Path("/flag"), "127.0.0.1:3", environment)
    assert (found.server.listen, found.server.workers, found.log.level) == ("127.0.0.1:3", 2, "error")
    assert found.data_path == pathlib.Path("/flag")
    assert load(path, None, None, environment).server.listen == "127.0.0.1:2"


def test_the_defaults_are_a_folder(tmp_path: pathlib.Path) -> None:
    """Database and blobs lie in the data folder unless they are set."""
    found = load(None, tmp_path, None, {})
    assert found.database_url == f"sqlite://{tmp_path}/entrepot.db"
    assert found.storage_url == f"file://{tmp_path}/blobs"
    urls = {"ENTREPOT_DATABASE__URL": "postgresql://db/entrepot", "ENTREPOT_STORAGE__URL": "memory://"}
    found = load(None, tmp_path, None, urls)
    assert (found.database_url, found.storage_url) == ("postgresql://db/entrepot", "memory://")


def test_lists_in_the_environment_are_separated_by_commas(tmp_path: pathlib.Path) -> None:
    """With or without spaces."""
    found = settings(tmp_path, environment={"ENTREPOT_SERVER__TRUSTED_PROXIES": "10.0.0.1, 10.1.0.0/16,"})
    assert found.server.trusted_proxies == ["10.0.0.1", "10.1.0.0/16"]


@pytest.mark.parametrize("name", ["ENTREPOT_SERVER_URL", "ENTREPOT_USERNAME", "ENTREPOT_PASSWORD"])
def test_what_the_client_reads_is_none_of_the_servers(tmp_path: pathlib.Path, name: str) -> None:
    """A shell that is set up for the command line can start a server."""
    assert settings(tmp_path, environment={name: "x"}) == Settings()


@pytest.mark.parametrize(
    ("text", "environment", "reason"),
    [
        ("nonsense", {}, "is not TOML"),
        ("[server]\nport = 1", {}, "server"),
        ('[server]\nworkers = "many"', {}, "server.workers"),
        ("unknown = 1", {}, "unknown"),
        ("", {"ENTREPOT_SERVER__PORT": "1"}, "port"),
        ("", {"ENTREPOT_DATA__FOLDER": "x"}, "data"),
        ('data = "x"', {"ENTREPOT_DATA__FOLDER": "x"}, "data is a value, not a table"),
        ("", {"ENTREPOT_SERVER__LISTEN": "5000"}, "server.listen"),
        ("", {"ENTREPOT_SERVER__LISTEN": ":5000"}, "server.listen"),
        ("", {"ENTREPOT_SERVER__LISTEN": "host:65536"}, "server.listen"),
        ("", {"ENTREPOT_SERVER__LISTEN": "host:x"}, "server.listen"),
        ("", {"ENTREPOT_SERVER__LISTEN": "host:²"}, "server.listen"),
        ("", {"ENTREPOT_SERVER__TRUSTED_PROXIES": "10.0.0.0/8, proxy"}, "server.trusted_proxies: 'proxy'"),
        ("", {"ENTREPOT_SERVER__WORKERS": "-1"}, "server.workers is a number of processes"),
        ("", {"ENTREPOT_AUTH__LOCKOUT_FAILURES": "-1"}, "auth.lockout_failures is a number of wrong passwords"),
        ("", {"ENTREPOT_DATABASE__AWAY_SECONDS": "-1"}, "database.away_seconds must be at least 1, or 0 for none"),
        ("", {"ENTREPOT_AUTH__LOCKOUT_SECONDS": "0"}, "auth.lockout_seconds must be at least 1"),
        ("", {"ENTREPOT_RATE__EXEMPT": "10.0.0.0/8, here"}, "rate.exempt: 'here' is not an address or network"),
        ("", {"ENTREPOT_RATE__ADDRESS_PER_MINUTE": "-1"}, "rate.address_per_minute is a number of requests"),
        ("", {"ENTREPOT_AUTH__TOKEN_SECONDS": "0"}, "auth.token_seconds must be at least 1"),
        ("", {"ENTREPOT_LOG__LEVEL": "loud"}, "log.level"),
        ("", {"ENTREPOT_TLS__OLDEST": "ssl3"}, "tls.oldest"),
        ("", {"ENTREPOT_TLS__KEY": "key.pem"}, "belong together"),
        ("[tls]\nauto = true\ncertificate = 'a'\nkey = 'b'", {}, "tls.auto"),
        ("", {"ENTREPOT_SERVER__CLIENT_CERTIFICATE_HEADER": "X"}, "server.client_certificate_header"),
        ("[server]\nclient_certificate_format = 'pem'", {}, "server.client_certificate_format is of"),
        (f"{PROXIED}'X Client Cert'", {}, "server.client_certificate_header is the name of a header"),
        (f"{PROXIED}'X-\u20ac'", {}, "server.client_certificate_header is the name of a header"),
        ("", {"ENTREPOT_SERVER__PUBLIC_URL": "registry.example.com"}, "server.public_url is http"),
        ("", {"ENTREPOT_SERVER__PUBLIC_URL": "ftp://registry"}, "server.public_url is http"),
        ("", {"ENTREPOT_SERVER__PUBLIC_URL": "https://registry/path"}, "server.public_url is http"),
        ("", {"ENTREPOT_SERVER__PUBLIC_URL": "https://me:word@registry"}, "server.public_url is http"),
        ("", {"ENTREPOT_SERVER__PUBLIC_URL": "https://registry:70000"}, "server.public_url is http"),
        ("[listeners.a]\naddress = 'h:1'\npublic_url = 'registry'", {}, "listeners.a.public_url is http"),
        ("[tls]\nauto = true\n[listeners.main]\ntls = 'off'", {}, "tls.auto is for no listener"),
        ("[tls]\nauto = true\n[listeners.main]\ncertificate = 'x'\nkey = 'y'", {}, "tls.auto is for no listener"),
        ("[listeners.Private]\naddress = 'h:1'", {}, "listeners.Private: a name"),
        ("[listeners.local]\naddress = 'h:1'", {}, "listeners.local: a name"),
        ("[listeners.a]", {}, r"listeners.a.address must be"),
        ("[listeners.a]\naddress = '127.0.0.1:5000'", {}, "that of the listener main already"),
        ("[listeners.main]\naddress = '127.0.0.1:5000'", {}, "listeners.main has no address"),
        ("[listeners.main]\npublic_url = 'https://x'", {}, "listeners.main has no address or public_url"),
        ("[listeners.main]\nproxy_protocol = true", {}, "listeners.main.proxies says who"),
        ("[listeners.main]\nproxies = ['10.0.0.1']", {}, "listeners.main.proxies says who"),
        ("[listeners.main]\nproxy_protocol = true\nproxies = ['x']", {}, "listeners.main.proxies: 'x'"),
        ("[listeners.main]\ncertificate = 'x'", {}, "listeners.main.certificate and listeners.main.key belong"),
        ("[listeners.main]\ntls = 'maybe'", {}, "listeners.*tls"),
        ("[listeners.main]\ntls = 'off'\ncertificate = 'x'\nkey = 'y'", {}, "listeners.main.tls is off"),
        ("[listeners.main]\nclient_ca = 'x'", {}, "listeners.main.client_ca says who"),
        ("[listeners.main]\nclient_crl = 'x'", {}, "listeners.main.client_ca says who"),
        ("[listeners.main]\nclient_certificates = 'required'", {}, "listeners.main.client_ca says who"),
        ("[listeners.main]\nclient_certificates = 'required'\nclient_ca = 'x'", {}, "needs TLS"),
        ("", {"ENTREPOT_LDAP__URLS": "http://ldap"}, "ldap.urls"),
        ("", {"ENTREPOT_LDAP__URLS": "ldap://"}, "ldap.urls"),
        ("", {"ENTREPOT_LDAP__URLS": "ldap://host:70000"}, "ldap.urls"),
        ("", {"ENTREPOT_LDAP__URLS": "ldap://user:word@host"}, "ldap.urls"),
        ("", {"ENTREPOT_LDAP__URLS": "ldap://host/dc=x"}, "ldap.urls"),
        ("", {"ENTREPOT_LDAP__URLS": "ldap://host"}, "ldap.base is needed"),
        (f"{LDAP}bind_dn = 'cn=x'", {}, "ldap.bind_dn needs"),
        (f"{LDAP}bind_password = 'x'", {}, "ldap.bind_dn needs"),
        (f"{LDAP}bind_password = 'x'\nbind_password_file = 'y'", {}, "exclude each other"),
        (f"{LDAP}name_attribute = ''", {}, "ldap.name_attribute"),
        (f"{LDAP}user_filter = '(uid=alice)'", {}, "ldap.user_filter"),
        (f"{LDAP}user_filter = 'uid={{name}}'", {}, "ldap.user_filter"),
        (f"{LDAP}user_filter = '(&(uid={{name}})'", {}, "ldap.user_filter"),
        (f"{LDAP}group_filter = '(cn=x)'", {}, "ldap.group_filter"),
        (f"{LDAP}timeout_seconds = 0", {}, "ldap.timeout_seconds"),
        (f"{LDAP}timeout_seconds = 61", {}, "ldap.timeout_seconds"),
        ("", {"ENTREPOT_MAIL__URL": "mail.example.com"}, "mail.url"),
        ("", {"ENTREPOT_MAIL__URL": "smtp://reg:word@host"}, "mail.url"),
        ("", {"ENTREPOT_MAIL__URL": "smtp://host:x"}, "mail.url"),
        ("", {"ENTREPOT_MAIL__URL": "smtp://host"}, "mail.sender"),
        ("", {"ENTREPOT_AUTH__REGISTRATION": "open"}, "auth.registration needs mail.url"),
        ("", {"ENTREPOT_AUTH__REGISTRATION": "all"}, "auth.registration"),
        (f"{MAIL}[auth]\nregistration = 'domain'", {}, "auth.registration_domains"),
        (f"{MAIL}[auth]\nregistration_domains = ['x.org']", {}, "auth.registration_domains"),
        ("", {"ENTREPOT_AUTH__REQUIRE_TOTP": "yes"}, "auth.require_totp"),
        ("[audit]\ndays_in_database = 0", {}, "audit.days_in_database"),
        ("", {"ENTREPOT_STORAGE__REDIRECT": "sometimes"}, "storage.redirect"),
        ("", {"ENTREPOT_STORAGE__REDIRECT": "always"}, "storage.redirect is for object stores"),
        (f"{BUCKET}redirect = 'rules'", {}, "storage.redirect = .rules. and one of"),
        (f"{BUCKET}redirect = 'always'\nstream_clients = ['x']", {}, "storage.redirect = .rules. and one of"),
        (f"{BUCKET}redirect_networks = ['10.0.0.0/8']", {}, "storage.redirect = .rules. and one of"),
        (f"{BUCKET}redirect = 'rules'\nredirect_networks = ['x']", {}, "storage.redirect_networks: 'x'"),
        (f"{BUCKET}redirect = 'rules'\nstream_networks = ['x']", {}, "storage.stream_networks: 'x'"),
        (f"{BUCKET}redirect = 'rules'\nredirect_listeners = ['x']", {}, "there is no listener 'x'"),
        (f"{BUCKET}redirect = 'always'\nredirect_seconds = 60", {}, "storage.redirect_seconds is 1200 to 604800"),
        ("[audit]\ndays_in_database = 30\nkeep_days = 20", {}, "audit.keep_days"),
        ("[audit]\nsyslog = 'tcp://host'", {}, "audit.syslog"),
        ("[audit]\nsyslog = 'http://host:1'", {}, "audit.syslog"),
        ("[audit]\nsyslog = 'tcp://host:x'", {}, "audit.syslog"),
    ],
)
def test_settings_that_are_refused(tmp_path: pathlib.Path, text: str, environment: dict[str, str], reason: str) -> None:
    """The message names the key."""
    with pytest.raises(SettingsError, match=reason):
        settings(tmp_path, text, environment)


@pytest.mark.parametrize("url", ["https://registry.example.com", "http://10.0.0.1:5000/", "https://[::1]:5000"])
def test_public_addresses(tmp_path: pathlib.Path, url: str) -> None:
    """A scheme, a host and perhaps a port; a slash at the end does no harm."""
    text = f"[server]\npublic_url = '{url}'\n[listeners.a]\naddress = 'h:1'\npublic_url = '{url}'"
    assert settings(tmp_path, text).listeners["a"].public_url == url


def test_what_belongs_together_is_taken(tmp_path: pathlib.Path) -> None:
    """A header with its form, networks that no limit counts, and a certificate for one listener of several."""
    rest = "client_certificate_format = 'pem'\n[rate]\nexempt = ['10.0.0.0/8']\n"
    tls = "[tls]\nauto = true\n[listeners.main]\ntls = 'off'\n[listeners.a]\naddress = 'h:1'"
    found = settings(tmp_path, f"{PROXIED}'X-Client_Cert'\n{rest}{tls}")
    assert (found.server.client_certificate_format, found.rate.exempt) == ("pem", ["10.0.0.0/8"])


def test_who_is_redirected(tmp_path: pathlib.Path) -> None:
    """Nobody unless it is said; by lists, which the environment separates by commas."""
    assert settings(tmp_path, BUCKET).storage.redirect == "never"
    assert settings(tmp_path, f"{BUCKET}redirect = 'always'").storage.redirect_seconds == 1800
    environment = {
        "ENTREPOT_STORAGE__REDIRECT": "rules",
        "ENTREPOT_STORAGE__REDIRECT_LISTENERS": "main",
        "ENTREPOT_STORAGE__REDIRECT_NETWORKS": "10.0.0.0/8, ::1",
        "ENTREPOT_STORAGE__STREAM_NETWORKS": "10.9.0.0/16",
        "ENTREPOT_STORAGE__STREAM_CLIENTS": "old/1., odd",
    }
    found = settings(tmp_path, BUCKET, environment).storage
    assert (found.redirect_listeners, found.redirect_networks) == (["main"], ["10.0.0.0/8", "::1"])
    assert (found.stream_networks, found.stream_clients) == (["10.9.0.0/16"], ["old/1.", "odd"])


def test_who_sends_mail(tmp_path: pathlib.Path) -> None:
    """Without a file nobody is logged in; a file has two lines, and its content is in no message."""
    assert settings(tmp_path, MAIL, {}).mail.read_credentials() == ("", "")
    secret = tmp_path / "secret"
    held = settings(tmp_path, f"{MAIL}credentials_file = '{secret}'", {}).mail
    with pytest.raises(SettingsError, match=r"mail\.credentials_file: cannot read"):
        held.read_credentials()
    secret.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        held.read_credentials()
    secret.write_text("reg\n")
    with pytest.raises(SettingsError, match="its first line"):
        held.read_credentials()
    secret.write_text("reg\na word\n")
    assert held.read_credentials() == ("reg", "a word")


def test_several_listeners(tmp_path: pathlib.Path) -> None:
    """By tables or the environment; `main` is `server.listen`, whatever else is said of it, and comes first."""
    text = "[listeners.edge]\naddress = '[::1]:1'\n[listeners.main]\ntls = 'off'"
    environment = {
        "ENTREPOT_LISTENERS__PRIVATE__ADDRESS": "10.0.0.1:2",
        "ENTREPOT_LISTENERS__PRIVATE__PROXY_PROTOCOL": "true",
        "ENTREPOT_LISTENERS__PRIVATE__PROXIES": "10.0.0.0/8, ::1",
    }
    found = settings(tmp_path, text, environment).all_listeners
    assert {name: held.address for name, held in found.items()} == {
        "main": "127.0.0.1:5000",
        "edge": "[::1]:1",
        "private": "10.0.0.1:2",
    }
    assert (next(iter(found)), found["main"].tls) == ("main", "off")
    assert (found["private"].proxy_protocol, found["private"].proxies) == (True, ["10.0.0.0/8", "::1"])
    assert list(Settings().all_listeners) == ["main"]


def test_every_setting_of_a_listener_is_documented() -> None:
    """docs/settings.md has a row for each, with its default."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for field in msgspec.structs.fields(Listener):
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        assert f"| `listeners.NAME.{field.name}` | `{msgspec.json.encode(default).decode()}` | " in page


def test_where_people_are(tmp_path: pathlib.Path) -> None:
    """Several servers, by the environment as well; the password of the service account may stand in a file."""
    secret = tmp_path / "secret"
    secret.write_text("word\nmore")
    text = f"{LDAP}bind_dn = 'cn=x'\nbind_password_file = '{secret}'"
    found = settings(tmp_path, text, {"ENTREPOT_LDAP__URLS": "ldaps://one, ldap://two:1389"}).ldap
    assert (found.urls, found.read_password()) == (["ldaps://one", "ldap://two:1389"], "word")
    secret.unlink()
    with pytest.raises(SettingsError, match=r"ldap\.bind_password_file"):
        found.read_password()
    assert Ldap(bind_password="word").read_password() == "word"


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    """Named, not skipped."""
    with pytest.raises(SettingsError, match="cannot read"):
        load(tmp_path / "none.toml", None, None, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("[::1]:0", ("::1", 0)),
        ("registry.example:65535", ("registry.example", 65535)),
    ],
)
def test_where_to_listen(text: str, expected: tuple[str, int]) -> None:
    """Host and port, with IPv6 in brackets."""
    assert parse_listen(text) == expected


def test_a_container_is_not_counted_the_cores_of_its_host(tmp_path: pathlib.Path) -> None:
    """A quota of a core and a half is two cores; without one, or where there is no such file, all of them."""
    quota, cores = tmp_path / "cpu.max", len(os.sched_getaffinity(0))
    quota.write_text("50000 100000\n")
    assert usable_cores(quota) == 1
    quota.write_text("150000 100000\n")
    assert usable_cores(quota) == min(2, cores)
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == usable_cores(tmp_path / "nowhere") == cores


def test_workers_follow_the_cores_unless_they_are_set() -> None:
    """One each, but never more than four unasked."""
    assert Server().worker_count == min(usable_cores(), MOST_WORKERS)
    assert Server(workers=9).worker_count == 9

"""`entrepot config`."""

from __future__ import annotations

import json
import pathlib
import tomllib

import pytest

from tests.cli.caller import Caller

SECRETS = {
    "ENTREPOT_ADMIN_PASSWORD": "hidden-password",
    "ENTREPOT_LDAP__BIND_PASSWORD": "hidden-bind",
    "ENTREPOT_DATABASE__URL": "postgresql://app:hidden-word@db.example:5432/app?sslmode=require&password=hidden-too",
    "ENTREPOT_STORAGE__URL": "s3://bucket/prefix?endpoint=http://s3.example&access_key_id=hidden-id&secret=hidden-key",
}


def test_settings_are_shown_as_they_hold(nobody: Caller, tmp_path: pathlib.Path) -> None:
    """What is shown is TOML with every key: of the file, the environment and the defaults."""
    file = tmp_path / "entrepot.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:6000"\ntrusted_proxies = ["10.0.0.0/8"]\n')
    caller = nobody.having(ENTREPOT_SERVER__WORKERS="3")
    shown = tomllib.loads(caller.run("config", "show", "--config", str(file), "--data", str(tmp_path / "d")))
    assert shown["server"]["listen"] == "127.0.0.1:6000"
    assert shown["server"]["trusted_proxies"] == ["10.0.0.0/8"]
    assert (shown["server"]["workers"], shown["keep"]["trash_days"]) == (3, 7)
    assert shown["database"]["url"] == f"sqlite://{tmp_path / 'd' / 'entrepot.db'}"
    words = ("config", "show", "--json", "--config", str(file), "--data", str(tmp_path / "d"))
    assert json.loads(caller.run(*words)) == shown


def test_secrets_are_masked(nobody: Caller) -> None:
    """Passwords and keys are stars, inside addresses too; the rest of an address is there."""
    text = nobody.having(**SECRETS).run("config", "show")
    assert "hidden" not in text
    shown = tomllib.loads(text)
    assert shown["admin_password"] == shown["ldap"]["bind_password"] == "***"
    assert shown["database"]["url"] == "postgresql://app:***@db.example:5432/app?sslmode=require&password=***"
    assert shown["storage"]["url"] == ("s3://bucket/prefix?endpoint=http://s3.example&access_key_id=***&secret=***")


def test_right_settings_are_right(nobody: Caller) -> None:
    """The defaults are right."""
    assert nobody.run("config", "check") == "the settings are right\n"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ENTREPOT_SERVER__NONSENSE", "1", "nonsense"),
        ("ENTREPOT_SERVER__WORKERS", "-1", "server.workers is a number of processes, or 0"),
        ("ENTREPOT_SERVER__LISTEN", "here", "server.listen"),
        ("ENTREPOT_DATABASE__URL", "oracle://x", "database.url: nothing here works with oracle://"),
        ("ENTREPOT_DATABASE__URL", "postgresql://u:p[q@db/x", "database.url is no URL; what is special in its pass"),
        ("ENTREPOT_STORAGE__URL", "x-y://x", "storage.url: nothing here works with x-y://"),
        ("ENTREPOT_CONFIG", "none.toml", "cannot read none.toml"),
    ],
)
def test_wrong_settings_are_told(nobody: Caller, variable: str, value: str, message: str) -> None:
    """A setting that the server would refuse is named, with exit code 1."""
    assert message in nobody.having(**{variable: value}).fail("config", "check")


def test_a_database_of_several_servers_is_one(nobody: Caller) -> None:
    """A url that names a stand-by as well is right."""
    url = "postgresql://u:p@one:5432,two:5433/x?target_session_attrs=primary"
    nobody.having(ENTREPOT_DATABASE__URL=url).run("config", "check")


def test_missing_certificates_are_told(nobody: Caller, tmp_path: pathlib.Path) -> None:
    """Files of TLS that cannot be read are named before a server is started with them."""
    missing = str(tmp_path / "none.pem")
    caller = nobody.having(ENTREPOT_TLS__CERTIFICATE=missing, ENTREPOT_TLS__KEY=missing)
    assert "tls.certificate: cannot read" in caller.fail("config", "check")


def test_missing_files_of_the_directory_are_told(nobody: Caller, tmp_path: pathlib.Path) -> None:
    """The certificate authority and the password of the service account."""
    missing = str(tmp_path / "none")
    for key in ("ca", "bind_password_file"):
        caller = nobody.having(**{f"ENTREPOT_LDAP__{key.upper()}": missing})
        assert f"ldap.{key}: cannot read" in caller.fail("config", "check")

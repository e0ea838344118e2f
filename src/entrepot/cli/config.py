"""`entrepot config`: whether the settings are right, and what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import cyclopts
import msgspec
from cyclopts import Parameter

from entrepot.cli.common import Config, Data, load_settings
from entrepot.cli.output import print_json
from entrepot.settings import Settings
from entrepot.settings_sense import SettingsError

app = cyclopts.App(name="config", help="Check and show the settings that a server here would have.")
MASK: Final = "***"
SECRET_WORDS: Final = re.compile(r"(?i)(pass|secret|token|key|credential|signature)")
SECRET_FIELDS: Final = frozenset({"admin_password", "bind_password"})
PARAMETER: Final = re.compile(r"(?P<name>[^?&=]+)=(?P<value>[^&]*)")

AsJson = Annotated[bool, Parameter(help="Print JSON.", negative="")]


@app.command
def check(*, config: Config = None, data: Data = None) -> None:
    """Check the settings file and the environment; exit code 1 with the key that is wrong."""
    settings = load_settings(config, data)
    _require_adapter("db", "database.url", settings.database_url)
    _require_adapter("storage", "storage.url", settings.storage_url)
    for key, path in (
        ("tls.certificate", settings.tls.certificate),
        ("tls.key", settings.tls.key),
        ("ldap.ca", settings.ldap.ca),
        ("ldap.bind_password_file", settings.ldap.bind_password_file),
        *_files_of_listeners(settings),
    ):
        if path and not os.access(path, os.R_OK):
            raise SettingsError(f"{key}: cannot read {path}")
    print("the settings are right")


def _files_of_listeners(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, listener in settings.listeners.items():
        for key in ("certificate", "key", "client_ca", "client_crl"):
            yield f"listeners.{name}.{key}", getattr(listener, key)


@app.command
def show(*, config: Config = None, data: Data = None, json: AsJson = False) -> None:
    """Show the settings in effect, as TOML; secrets are masked."""
    settings = load_settings(config, data)
    tree = mask(settings)
    if json:
        print_json(tree)
    else:
        print("\n".join(_toml(tree)))


def mask(settings: Settings) -> dict[str, Any]:
    """The tree with secrets replaced; also those inside addresses."""
    tree = msgspec.to_builtins(settings)
    tree["data"] = str(settings.data_path)
    tree["database"]["url"], tree["storage"]["url"] = settings.database_url, settings.storage_url
    masked: dict[str, Any] = _mask(tree)
    return masked


def _mask(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _mask(inner, name) for name, inner in value.items()}
    if not isinstance(value, str):
        return value
    if key in SECRET_FIELDS:
        return MASK if value else ""
    return _mask_address(value) if "://" in value else value


def _mask_address(address: str) -> str:
    head, question, query = address.partition("?")
    password = urlsplit(head).password
    if password:
        head = head.replace(f":{password}@", f":{MASK}@", 1)
    return head + question + PARAMETER.sub(_mask_parameter, query)


def _mask_parameter(match: re.Match[str]) -> str:
    return f"{match['name']}={MASK}" if SECRET_WORDS.search(match["name"]) else match[0]


def _toml(tree: dict[str, Any], within: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if not isinstance(value, dict):
            yield f"{key} = {_literal(value)}"
    for key, table in tree.items():
        if isinstance(table, dict):
            yield f"\n[{within}{key}]"
            yield from _toml(table, f"{within}{key}.")


def _literal(value: Any) -> str:
    # JSON's strings, numbers, booleans and arrays of them are TOML's too.
    return msgspec.json.encode(value).decode()


def _require_adapter(kind: str, key: str, url: str) -> None:
    scheme = url.partition("://")[0]
    name = "postgresql" if scheme == "postgres" else scheme
    if not name.isidentifier() or find_spec(f"entrepot.{kind}.{name}") is None:
        raise SettingsError(f"{key}: nothing here works with {scheme}://")
    try:
        # Not its port: a url of PostgreSQL may name several servers.
        urlsplit(url)
    except ValueError:
        # It may hold a password.
        raise SettingsError(f"{key} is no URL; what is special in its password is written as %XX") from None

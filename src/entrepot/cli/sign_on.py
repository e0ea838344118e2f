"""`entrepot sign-on`: the OpenID Connect providers that people sign on with."""

from __future__ import annotations

import pathlib
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="sign-on", help="Say with which OpenID Connect providers people sign on.")
HERE = Anywhere()
STDIN = "-"


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """What can be said of a provider at first and later."""

    secret_file: Annotated[
        str,
        Parameter(
            help="File with the client secret, or - for standard input; nobody can read it back.",
            allow_leading_hyphen=True,
        ),
    ] = ""
    scope: Annotated[
        list[str] | None, Parameter(help="What is asked for, else openid profile email; may be repeated.", negative="")
    ] = None
    name_claim: Annotated[str | None, Parameter(help="The claim with the user name.")] = None
    email_claim: Annotated[str | None, Parameter(help="The claim with the e-mail address.")] = None
    groups_claim: Annotated[str | None, Parameter(help="The claim with groups; empty for none.")] = None
    domain: Annotated[
        list[str] | None,
        Parameter(help="Let only verified addresses of this domain in; may be repeated.", negative_iterable="any-"),
    ] = None
    group: Annotated[
        list[str] | None,
        Parameter(help="Let only members of this group in; may be repeated.", negative_iterable="any-"),
    ] = None
    create_accounts: Annotated[
        bool | None, Parameter(help="Whoever signs on for the first time gets an account; else they must be linked.")
    ] = None

    @property
    def document(self) -> dict[str, Any]:
        """What was said, as the API takes it."""
        said = {
            "client_secret": _read(self.secret_file) if self.secret_file else None,
            "scopes": self.scope,
            "name_claim": self.name_claim,
            "email_claim": self.email_claim,
            "groups_claim": self.groups_claim,
            "domains": self.domain,
            "groups": self.group,
            "creates_accounts": self.create_accounts,
        }
        return {field: value for field, value in said.items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Switches:
    """What can be turned on and off."""

    enable: Annotated[bool, Parameter(help="Let people sign on with it.", negative="")] = False
    disable: Annotated[bool, Parameter(help="Let nobody sign on with it.", negative="")] = False


NOTHING = Settings()
AS_IT_IS = Switches()


@app.command
def add(
    name: str,
    /,
    *,
    issuer: Annotated[str, Parameter(help="Its issuer identifier, as its discovery document has it.")],
    client_id: Annotated[str, Parameter(help="What it calls this registry.")],
    settings: Settings = NOTHING,
    where: Anywhere = HERE,
) -> None:
    """Let people sign on with a provider, which sends them back to https://THIS-REGISTRY/login/oidc/NAME/callback."""
    new = {"name": name, "issuer": issuer, "client_id": client_id, **settings.document}
    with open_api(where) as api:
        _show(call(api, "POST", path_of("sign-on-providers"), new), "added", is_json=where.json)


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List the providers that people may sign on with."""
    with open_api(where) as api:
        found = collect(api, path_of("sign-on-providers"), "providers")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["name", "issuer", "client_id", "creates_accounts", "enabled"])


@app.command(name="set")
def set_(
    name: str,
    /,
    *,
    client_id: Annotated[str | None, Parameter(help="What it calls this registry.")] = None,
    settings: Settings = NOTHING,
    switches: Switches = AS_IT_IS,
    where: Anywhere = HERE,
) -> None:
    """Change a provider."""
    if switches.enable and switches.disable:
        raise ClientError("--enable and --disable exclude each other")
    change = settings.document | ({"client_id": client_id} if client_id else {})
    if switches.enable or switches.disable:
        change["enabled"] = switches.enable
    if not change:
        raise ClientError("say what to change, such as --disable; entrepot sign-on set --help lists all")
    with open_api(where) as api:
        _show(call(api, "PATCH", path_of("sign-on-providers", name), change), "changed", is_json=where.json)


@app.command
def remove(name: str, /, *, where: Anywhere = HERE) -> None:
    """Forget a provider; sessions that it opened end, and whoever came by it alone may not act any more."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("sign-on-providers", name))
    if where.json:
        print_json({"name": name})
    else:
        print(f"provider {clean(name)} removed")


@app.command
def links(name: str, /, *, where: Anywhere = HERE) -> None:
    """List who of a provider is who here."""
    with open_api(where) as api:
        found = collect(api, path_of("sign-on-providers", name, "links"), "links")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["user", "subject", "email", "signed_in_at", "ended_at"])


def _show(provider: dict[str, Any], what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(provider)
        return
    state = "enabled" if provider["enabled"] else "disabled"
    print(f"provider {clean(provider['name'])} {what}: {clean(provider['issuer'])}, {state}")


def _read(path: str) -> str:
    if path == STDIN:
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from None

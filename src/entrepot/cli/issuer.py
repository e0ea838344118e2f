"""`entrepot issuer`: whose tokens are believed, and what their holders may then do."""

from __future__ import annotations

import pathlib
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import Api, call, collect, path_of
from entrepot.client.errors import ClientError
from entrepot.domain.conditions import parse_conditions, render_conditions

app = cyclopts.App(name="issuer", help="Believe tokens of CI systems, Kubernetes and AWS, and say what they open.")
rule = cyclopts.App(name="rule", help="Say what a token must claim, and as whom its holder then acts.")
app.command(rule)
HERE = Anywhere()
STDIN = "-"


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """What can be said of an issuer at first and later."""

    audience: Annotated[
        list[str] | None,
        Parameter(help="For whom tokens must be, such as the name of this registry; may be repeated.", negative=""),
    ] = None
    region: Annotated[list[str] | None, Parameter(help="A region of AWS; may be repeated.", negative="")] = None
    jwks: Annotated[
        pathlib.Path | None, Parameter(help="File with its public keys (JWKS), for an issuer that cannot be asked.")
    ] = None
    reusable: Annotated[
        bool | None,
        Parameter(help="A token counts until it expires, also as the password of the user oidc; else once."),
    ] = None

    @property
    def document(self) -> dict[str, Any]:
        """What was said, as the API takes it."""
        said = {
            "audiences": self.audience,
            "regions": self.region or None,
            "jwks": _read(self.jwks) if self.jwks else None,
            "reusable": self.reusable,
        }
        return {field: value for field, value in said.items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Switches:
    """What can be turned on and off."""

    enable: Annotated[bool, Parameter(help="Let its tokens in.", negative="")] = False
    disable: Annotated[bool, Parameter(help="Let none of its tokens in.", negative="")] = False
    unpin: Annotated[bool, Parameter(help="Ask the issuer for its keys again.", negative="")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """What a rule says."""

    when: Annotated[str, Parameter(name="--if", help='"repo == acme/app && ref =~ refs/tags/*".')]
    account: Annotated[str, Parameter(name="--as", help="The service account or user that its holder acts as.")]
    scope: Annotated[
        list[str],
        Parameter(help="What it may be for at most: repository:acme/*:pull,push; may be repeated.", negative=""),
    ]
    disabled: Annotated[bool, Parameter(help="Keep it, and let nobody in by it.", negative="")] = False


NOTHING = Settings()
AS_IT_IS = Switches()


@app.command
def add(
    name: str,
    /,
    *,
    url: Annotated[str, Parameter(help="What its tokens say as iss; with --aws an endpoint of STS of your own.")] = "",
    aws: Annotated[bool, Parameter(help="AWS principals, by signed requests to STS.", negative="")] = False,
    settings: Settings = NOTHING,
    where: Anywhere = HERE,
) -> None:
    """Believe an issuer; nobody gets in by it before there is a rule."""
    new = {"name": name, "kind": "aws" if aws else "oidc", "url": url, "audiences": [], **settings.document}
    with open_api(where) as api:
        _show(call(api, "POST", path_of("issuers"), new), "added", is_json=where.json)


@app.command(name="list")
def list_(*, where: Anywhere = HERE) -> None:
    """List the issuers whose tokens are believed."""
    with open_api(where) as api:
        found = collect(api, path_of("issuers"), "issuers")
    if where.json:
        print_json(found)
    else:
        print_rows(
            [{**each, "audiences": ", ".join(each["audiences"])} for each in found],
            ["name", "kind", "url", "audiences", "reusable", "enabled"],
        )


@app.command(name="set")
def set_(name: str, /, *, settings: Settings = NOTHING, switches: Switches = AS_IT_IS, where: Anywhere = HERE) -> None:
    """Change an issuer."""
    if (switches.enable and switches.disable) or (settings.jwks and switches.unpin):
        raise ClientError("--enable and --disable, and --jwks and --unpin, exclude each other")
    change = settings.document
    if switches.unpin:
        change["jwks"] = ""
    if switches.enable or switches.disable:
        change["enabled"] = switches.enable
    if not change:
        raise ClientError("say what to change, such as --disable; entrepot issuer set --help lists all")
    with open_api(where) as api:
        _show(call(api, "PATCH", path_of("issuers", name), change), "changed", is_json=where.json)


@app.command
def remove(name: str, /, *, where: Anywhere = HERE) -> None:
    """Believe an issuer no more; its rules go with it."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("issuers", name))
    if where.json:
        print_json({"name": name})
    else:
        print(f"issuer {clean(name)} removed")


@app.command(name="try")
def try_(
    token_file: Annotated[str, Parameter(help="A file, or - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    where: Anywhere = HERE,
) -> None:
    """Say what would come of a token: which rule fits, and why the others do not; it is not used up."""
    token = sys.stdin.read() if token_file == STDIN else _read(pathlib.Path(token_file))
    with open_api(where) as api:
        trial = call(api, "POST", path_of("issuer-trials"), {"token": token.strip()})
    if where.json:
        print_json(trial)
        return
    print(f"issuer: {clean(trial['issuer'] or 'none that is believed')}")
    print(f"refused: {clean(trial['problem'])}" if trial["problem"] else "the token is genuine, of now, and for us")
    for each in trial["rules"]:
        what = f"fits: acts as {each['account']}, at most {' '.join(each['scopes'])}"
        print(f"rule {clean(each['name'])} {clean(what if each['fits'] else 'does not fit')}")
        for reason in each["reasons"]:
            print(f"  {clean(reason)}")
    print(f"lets it in: {clean(trial['rule'] or 'no rule')}")


@rule.command(name="set")
def set_rule(issuer: str, name: str, /, *, wanted: Wanted, where: Anywhere = HERE) -> None:
    """Keep a rule: what a token must claim, and as whom and within which scopes its holder then acts."""
    conditions = {claim: list(values) for claim, values in parse_conditions(wanted.when).items()}
    new = {"conditions": conditions, "account": wanted.account, "scopes": wanted.scope, "enabled": not wanted.disabled}
    with open_api(where) as api:
        kept = call(api, "PUT", path_of("issuers", issuer, "rules", name), new)
    if where.json:
        print_json(kept)
    else:
        print(f"rule {clean(name)} of {clean(issuer)} kept: {clean(_told(kept))}")


@rule.command(name="list")
def list_rules(issuer: str, /, *, where: Anywhere = HERE) -> None:
    """List the rules of an issuer, in the order in which they are tried."""
    with open_api(where) as api:
        found = collect(api, path_of("issuers", issuer, "rules"), "rules")
    if where.json:
        print_json(found)
        return
    rows = [
        {**each, "if": _conditions(each), "as": each["account"], "scopes": " ".join(each["scopes"])} for each in found
    ]
    print_rows(rows, ["name", "if", "as", "scopes", "enabled"])


@rule.command
def enable(issuer: str, name: str, /, *, where: Anywhere = HERE) -> None:
    """Let tokens in by a rule again."""
    with open_api(where) as api:
        _switch(api, issuer, name, is_enabled=True)
    print(f"rule {clean(name)} of {clean(issuer)} is enabled")


@rule.command
def disable(issuer: str, name: str, /, *, where: Anywhere = HERE) -> None:
    """Let nobody in by a rule, and keep it."""
    with open_api(where) as api:
        _switch(api, issuer, name, is_enabled=False)
    print(f"rule {clean(name)} of {clean(issuer)} is disabled")


@rule.command(name="remove")
def remove_rule(issuer: str, name: str, /, *, where: Anywhere = HERE) -> None:
    """Forget a rule."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("issuers", issuer, "rules", name))
    if where.json:
        print_json({"issuer": issuer, "name": name})
    else:
        print(f"rule {clean(name)} of {clean(issuer)} removed")


def _switch(api: Api, issuer: str, name: str, *, is_enabled: bool) -> None:
    path = path_of("issuers", issuer, "rules", name)
    kept = call(api, "GET", path)
    call(
        api,
        "PUT",
        path,
        {**{field: kept[field] for field in ("conditions", "account", "scopes")}, "enabled": is_enabled},
    )


def _told(kept: dict[str, Any]) -> str:
    return f"{_conditions(kept)} -> {kept['account']}, at most {' '.join(kept['scopes'])}"


def _conditions(kept: dict[str, Any]) -> str:
    return render_conditions({claim: tuple(values) for claim, values in kept["conditions"].items()}) or "any token"


def _show(issuer: dict[str, Any], what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(issuer)
        return
    state = "enabled" if issuer["enabled"] else "disabled"
    print(f"issuer {clean(issuer['name'])} {what}: {clean(issuer['url'])}, {state}")


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from None

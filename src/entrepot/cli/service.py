"""`entrepot service-account`: machines that log in, and their secrets."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import cyclopts
from cyclopts import Parameter

from entrepot.cli import credentials
from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Where, find_server
from entrepot.client.api import call, collect, path_of

app = cyclopts.App(name="service-account", help="Make and change accounts of machines, and rotate their secrets.")
secret = cyclopts.App(name="secret", help="Make, list and revoke secrets; several are good at once.")
app.command(secret)
THERE = Where()
COLUMNS = ["name", "namespace", "disabled", "created_at", "description"]
ROBOT = "robot$"

Account = Annotated[str, Parameter(help="Such as robot$acme+ci; the robot$ may be left out.")]


@app.command
def create(
    name: Annotated[str, Parameter(help="Its own name, such as ci.")],
    /,
    *,
    namespace: Annotated[str, Parameter(help="The namespace that it belongs to, else the registry.")] = "",
    description: Annotated[str, Parameter(help="What it is for.")] = "",
    where: Where = THERE,
) -> None:
    """Make a service account; give it a role with `namespace grant`, and a secret with `secret add`."""
    new = {"name": name, "namespace": namespace or None, "description": description}
    made = call(find_server(where), "POST", path_of("service-accounts"), new)
    if where.json:
        print_json(made)
    else:
        print(f"service account {clean(made['name'])} made")


@app.command(name="list")
def list_(
    *,
    namespace: Annotated[str, Parameter(help="Only those of this namespace.")] = "",
    where: Where = THERE,
) -> None:
    """List service accounts: of a namespace that you administer, or, as an administrator, all."""
    query = f"?namespace={quote(namespace, safe='')}" if namespace else ""
    found = collect(find_server(where), path_of("service-accounts") + query, "service_accounts")
    if where.json:
        print_json(found)
    else:
        print_rows(found, COLUMNS)


@app.command
def show(account: Account, /, *, where: Where = THERE) -> None:
    """Show one service account."""
    found = call(find_server(where), "GET", _path(account))
    if where.json:
        print_json(found)
    else:
        print_rows([found], COLUMNS)


@app.command
def disable(account: Account, /, *, where: Where = THERE) -> None:
    """Let none of its secrets and tokens open anything, at once, until it is enabled again."""
    _change(account, {"disabled": True}, "disabled", where)


@app.command
def enable(account: Account, /, *, where: Where = THERE) -> None:
    """Let its secrets open again what they opened before."""
    _change(account, {"disabled": False}, "enabled", where)


@app.command
def certificate(
    account: Account,
    name: Annotated[str, Parameter(help='The name in the certificate, such as spiffe://acme/ci; "" for none.')],
    /,
    *,
    where: Where = THERE,
) -> None:
    """Let whoever shows a client certificate of this name, and no secret, be this account."""
    _change(
        account, {"certificate": name}, f"has the certificate {clean(name)}" if name else "has no certificate", where
    )


@app.command
def remove(account: Account, /, *, where: Where = THERE) -> None:
    """Remove a service account with its roles and secrets."""
    call(find_server(where), "DELETE", _path(account))
    if where.json:
        print_json({"name": _full(account)})
    else:
        print(f"service account {clean(_full(account))} removed")


@secret.command(name="add")
def add_secret(
    account: Account,
    name: Annotated[str, Parameter(help="What you call the secret, such as 2026-11.")],
    /,
    *,
    scope: credentials.Scopes = None,
    days: credentials.Days = None,
    where: Where = THERE,
) -> None:
    """Make a further secret, which is shown this once; those that are there stay good."""
    made = credentials.make(find_server(where), _path(account, "secrets"), name, scope, days)
    credentials.show_made(made, f"secret {clean(name)} of {clean(_full(account))}", is_json=where.json)


@secret.command(name="list")
def list_secrets(account: Account, /, *, where: Where = THERE) -> None:
    """List its secrets with when they were used last."""
    credentials.show_all(find_server(where), _path(account, "secrets"), is_json=where.json)


@secret.command(name="revoke")
def revoke_secret(account: Account, which: credentials.Which, /, *, where: Where = THERE) -> None:
    """End a secret at once, with every token that was asked for with it."""
    revoked = credentials.revoke(find_server(where), _path(account, "secrets"), which)
    if where.json:
        print_json({"id": revoked["id"], "name": revoked["name"]})
    else:
        print(f"secret {clean(revoked['name'])} of {clean(_full(account))} revoked")


def _full(account: str) -> str:
    # The $ needs quotes in a shell, so it may be left out.
    return account if account.startswith(ROBOT) else ROBOT + account


def _path(account: str, *more: str) -> str:
    return path_of("service-accounts", _full(account), *more)


def _change(account: str, change: dict[str, Any], what: str, where: Where) -> None:
    changed = call(find_server(where), "PATCH", _path(account), change)
    if where.json:
        print_json(changed)
    else:
        print(f"service account {clean(changed['name'])} {what}")

"""Secrets as commands make, show and name them, whoever they belong to."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.client.api import Api, call, collect
from entrepot.client.errors import ClientError

Scopes = Annotated[
    list[str] | None,
    Parameter(
        name="--scope",
        help="What it may be used for: pull, push, delete, admin, or repository:NAME:ACTIONS; give it several times.",
        negative="",
    ),
]
Days = Annotated[int | None, Parameter(help="After how many days it ends by itself; else it holds until revoked.")]
Which = Annotated[str, Parameter(help="Its name, or its id.")]
COLUMNS = ["id", "kind", "name", "hint", "scopes", "expires_at", "used_at", "revoked_at"]


def make(api: Api, path: str, name: str, scopes: list[str] | None, days: int | None) -> dict[str, Any]:
    """A new secret of the account behind a path, as the server shows it this once."""
    new: dict[str, Any] = {"name": name, "scopes": scopes or []}
    made: dict[str, Any] = call(api, "POST", path, new if days is None else {**new, "days": days})
    return made


def show_made(made: dict[str, Any], what: str, *, is_json: bool) -> None:
    """A secret for whoever made it."""
    if is_json:
        print_json(made)
        return
    print(f"{what} made; it is shown this once:")
    print(made["secret"])


def show_all(api: Api, path: str, *, is_json: bool) -> None:
    """The secrets of an account, ended ones too."""
    found = collect(api, path, "secrets")
    if is_json:
        print_json(found)
    else:
        print_rows([{**each, "scopes": " ".join(each["scopes"]) or "(all)"} for each in found], COLUMNS)


def revoke(api: Api, path: str, which: str) -> dict[str, Any]:
    """End a secret that is called by its name or id. Raises ClientError."""
    secret = _find(collect(api, path, "secrets"), which)
    call(api, "DELETE", f"{path}/{secret['id']}")
    return secret


def list_live(api: Api, path: str) -> list[str]:
    """The ids of the secrets of an account that were not revoked."""
    return [str(each["id"]) for each in collect(api, path, "secrets") if each["revoked_at"] is None]


def _find(secrets: list[dict[str, Any]], which: str) -> dict[str, Any]:
    called = [each for each in secrets if which == str(each["id"])]
    called = called or [each for each in secrets if which == each["name"] and each["revoked_at"] is None]
    if not called:
        raise ClientError(f"there is no secret of the name or id {clean(which)}")
    # Of those that ended by themselves and the one that holds, the last is meant.
    return called[-1]

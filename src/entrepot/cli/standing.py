"""`entrepot user show`, `set`, `disable` and `enable`: who administers, and who may not act for a while."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from entrepot.cli.output import clean, print_fields, print_json
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of
from entrepot.client.errors import ClientError

HERE = Anywhere()


def show(name: str, /, *, where: Anywhere = HERE) -> None:
    """Show one user: where they come from, and until when they are locked out."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("users", name))
    if where.json:
        print_json(found)
    else:
        print_fields(found)


def set_(
    name: str,
    /,
    *,
    admin: Annotated[bool | None, Parameter(help="Whether they may administer the whole registry.")] = None,
    where: Anywhere = HERE,
) -> None:
    """Let a user administer the whole registry, or not any more; somebody of a directory or provider as well."""
    if admin is None:
        raise ClientError("say what to change: --admin or --no-admin")
    changed = _change(name, {"administrator": admin}, where)
    _say(changed, "administers the registry" if admin else "does not administer the registry", is_json=where.json)


def disable(name: str, /, *, where: Anywhere = HERE) -> None:
    """Let no password, token or browser of a user open anything, within a second, until they are enabled again."""
    _say(_change(name, {"disabled": True}, where), "disabled", is_json=where.json)


def enable(name: str, /, *, where: Anywhere = HERE) -> None:
    """Let what a user has open again what it opened before; what was revoked stays so."""
    changed = _change(name, {"disabled": False}, where)
    what = "enabled as soon as they sign on again: no provider vouches for them" if changed["disabled"] else "enabled"
    _say(changed, what, is_json=where.json)


def _change(name: str, change: dict[str, bool], where: Anywhere) -> Any:
    with open_api(where) as api:
        return call(api, "PATCH", path_of("users", name), change)


def _say(changed: Any, what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(changed)
    else:
        print(f"user {clean(changed['name'])} {what}")

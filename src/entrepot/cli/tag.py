"""`entrepot tag`: where tags point, where they pointed, and moving them by hand."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Where, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="tag", help="List, move, delete and roll back tags, and show their history.")
THERE = Where()
ABSENT = "none"

Reference = Annotated[str, Parameter(help="Repository and tag, such as acme/app:latest.")]
Expected = Annotated[
    str | None, Parameter(help='Refuse unless the tag points at this digest now ("none": is not there).')
]


@app.command(name="list")
def list_(
    repository: str,
    /,
    *,
    deleted: Annotated[
        bool, Parameter(help="Those that were deleted, and that a rollback brings back.", negative="")
    ] = False,
    where: Where = THERE,
) -> None:
    """List the tags of a repository with what they point at, or pointed at before they were deleted."""
    with open_api(where) as api:
        found = collect(api, path_of("repositories", repository, "deleted-tags" if deleted else "tags"), "tags")
    if where.json:
        print_json(found)
    elif deleted:
        print_rows(found, ["name", "digest", "actor", "via", "deleted_at", "until"])
    else:
        print_rows(found, ["name", "digest", "media_type", "size", "moved_at"])


@app.command
def history(reference: Reference, /, *, where: Where = THERE) -> None:
    """Show every move of a tag, the newest first."""
    with open_api(where) as api:
        found = collect(api, _path(reference, "history"), "events")
    if where.json:
        print_json(found)
    else:
        print_rows(found, ["at", "actor", "via", "from", "to", "restorable"])


@app.command
def move(reference: Reference, digest: str, /, *, expected: Expected = None, where: Where = THERE) -> None:
    """Point a tag at a manifest of its repository, given by digest."""
    with open_api(where) as api:
        moved = call(api, "PUT", _path(reference), {"digest": digest, **_guard(expected)})
    _show(reference, moved, is_json=where.json)


@app.command
def delete(reference: Reference, /, *, expected: Expected = None, where: Where = THERE) -> None:
    """Delete a tag; its manifest stays for the history window, so that a rollback can bring the tag back."""
    query = f"?{urlencode({'expected': expected})}" if expected else ""
    with open_api(where) as api:
        call(api, "DELETE", _path(reference) + query)
    if where.json:
        print_json({"deleted": reference})
    else:
        print(f"tag {clean(reference)} deleted; bring it back with: entrepot tag rollback {clean(reference)}")


@app.command
def rollback(
    reference: Reference,
    /,
    *,
    to: Annotated[str | None, Parameter(help="A digest of the tag's history (default: the one before).")] = None,
    expected: Expected = None,
    where: Where = THERE,
) -> None:
    """Point a tag back at a former digest that is still there."""
    with open_api(where) as api:
        moved = call(api, "POST", _path(reference, "rollback"), {"digest": to, **_guard(expected)})
    _show(reference, moved, is_json=where.json)


def _path(reference: str, *tail: str) -> str:
    repository, colon, tag = reference.rpartition(":")
    if not colon or not repository or not tag or "/" in tag or "@" in reference:
        raise ClientError(f"{reference!r} is no tag; write repository and tag, such as acme/app:latest")
    return path_of("repositories", repository, "tags", tag, *tail)


def _guard(expected: str | None) -> dict[str, Any]:
    if expected is None:
        return {}
    return {"expected": None if expected == ABSENT else expected}


def _show(reference: str, tag: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_json(tag)
    else:
        print(f"{clean(reference)} points at {clean(tag['digest'])}")

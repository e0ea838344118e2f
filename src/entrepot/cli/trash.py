"""`entrepot trash`: what was deleted, and bringing it back."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from entrepot.cli.output import clean, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="trash", help="List what was deleted, and bring it back.")
HERE = Anywhere()


@app.command(name="list")
def list_(repository: str, /, *, where: Anywhere = HERE) -> None:
    """List the deleted manifests and blobs of a repository that can be brought back."""
    with open_api(where) as api:
        found = collect(api, path_of("repositories", repository, "trash"), "trash")
    if where.json:
        print_json(found)
    else:
        rows = [{**each, "tags": " ".join(each["tags"]) or "-"} for each in found]
        print_rows(rows, ["digest", "kind", "size", "tags", "deleted_at", "until"])


@app.command
def restore(
    reference: Annotated[str, Parameter(help="Repository and digest, such as acme/app@sha256:1f...")],
    /,
    *,
    where: Anywhere = HERE,
) -> None:
    """Bring a deleted manifest or blob back, with what it needs and the tags that went with it."""
    repository, at, digest = reference.partition("@")
    if not at or not repository or not digest:
        raise ClientError(f"{reference!r} names no digest; write repository and digest, such as acme/app@sha256:1f...")
    with open_api(where) as api:
        found = call(api, "POST", path_of("repositories", repository, "restore"), {"digest": digest})
    if where.json:
        print_json(found)
    else:
        tags = f" with the tags {clean(' '.join(found['tags']))}" if found["tags"] else ""
        print(f"{' and '.join(found['kinds'])} {clean(reference)} is back{tags}")
        for digest in found["contents"]:
            print(f"with it: {clean(repository)}@{clean(digest)}")

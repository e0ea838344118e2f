"""`entrepot collect`: free what nothing keeps any more."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.filesize import decimal

from entrepot.cli.output import print_json
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of

HERE = Anywhere()


def collect(
    *,
    plan: Annotated[bool, Parameter(help="Say what would be freed, and free nothing.", negative="")] = False,
    audit: Annotated[
        bool, Parameter(help="Look at everything first, and not only at what was let go.", negative="")
    ] = False,
    where: Anywhere = HERE,
) -> None:
    """Free what neither a tag nor a pin keeps any more, now; the server does so by itself each minute."""
    with open_api(where) as api:
        if plan:
            found = call(api, "GET", path_of("collection"))
        else:
            found = call(api, "POST", path_of("collection"), {"audit": audit})
    if where.json:
        print_json(found)
    elif plan:
        more = "" if found["whole"] else " at least"
        print(
            f"{found['manifests']} manifests and {found['blobs']} blobs would go{more}, "
            f"and free {decimal(found['freed_bytes'])}"
        )
    else:
        print(f"queued: {found['waiting']} ended pins to look at")

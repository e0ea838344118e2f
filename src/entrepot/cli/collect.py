"""`entrepot collect`: free what nothing keeps any more."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from rich.filesize import decimal

from entrepot.cli.output import print_json
from entrepot.cli.progress import told
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of

HERE = Anywhere()


def collect(
    *,
    plan: Annotated[bool, Parameter(help="Say what would be freed, and free nothing.", negative="")] = False,
    audit: Annotated[
        bool, Parameter(help="Look at everything first, and not only at what was let go.", negative="")
    ] = False,
    status: Annotated[
        bool, Parameter(help="Say how far the collector is, and what it has freed.", negative="")
    ] = False,
    where: Anywhere = HERE,
) -> None:
    """Free what neither a tag nor a pin keeps any more, now; the server does so by itself each minute."""
    with open_api(where) as api:
        if status:
            found = call(api, "GET", path_of("collection", "status"))
        elif plan:
            found = call(api, "GET", path_of("collection"))
        else:
            found = call(api, "POST", path_of("collection"), {"audit": audit})
    if where.json:
        print_json(found)
    elif status:
        _show(found)
    elif plan:
        more = "" if found["whole"] else " at least"
        print(
            f"{found['manifests']} manifests and {found['blobs']} blobs would go{more}, "
            f"and free {decimal(found['freed_bytes'])}"
        )
    else:
        print(f"queued: {found['waiting']} ended pins to look at")


def _show(status: dict[str, Any]) -> None:
    print(f"running: {told(status['progress'])}" if status["running"] else "not running")
    print(f"waiting: {status['waiting']} ended pins")
    for name, freed in (("last run", status["last"]), ("in all", status["all"])):
        if freed is not None:
            size = decimal(freed["freed_bytes"])
            print(f"{name}: {freed['manifests']} manifests and {freed['blobs']} blobs, {size} freed")

"""`entrepot collect`: free what nothing keeps any more."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from rich.filesize import decimal

from entrepot.cli.output import print_json
from entrepot.cli.progress import told
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, path_of
from entrepot.client.errors import ClientError

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
    if plan + audit + status > 1:
        raise ClientError("--plan, --audit and --status exclude each other; give one of them, or none to collect")
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
        _show_plan(found)
    else:
        print(f"queued: {found['waiting']} ended pins to look at")


def _show_plan(plan: dict[str, Any]) -> None:
    more, later = "" if plan["whole"] else " at least", plan["after_grace"]
    print(f"{_told(plan)} would go now{more}")
    print(f"{_told(later)} besides once the grace window is over{more}")


def _told(freed: dict[str, Any]) -> str:
    return f"{freed['manifests']} manifests and {freed['blobs']} blobs, {decimal(freed['freed_bytes'])},"


def _show(status: dict[str, Any]) -> None:
    print(f"running: {told(status['progress'])}" if status["running"] else "not running")
    print(f"waiting: {status['waiting']} ended pins")
    for name, freed in (("last run", status["last"]), ("in all", status["all"])):
        if freed is not None:
            size = decimal(freed["freed_bytes"])
            print(f"{name}: {freed['manifests']} manifests and {freed['blobs']} blobs, {size} freed")

"""`entrepot jobs schedule`: when the jobs that come back do so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from cyclopts import Parameter

from entrepot.cli.output import print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import Api, call, collect, path_of
from entrepot.client.errors import ClientError

HERE = Anywhere()
SCHEDULES: Final = "job-schedules"
COLUMNS: Final = ["kind", "rule", "next_run", "changed_at"]
SPAN: Final = re.compile(r"([1-9][0-9]{0,8})([smhd]?)")
UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@Parameter(name="*")
@dataclass(frozen=True)
class When:
    """When jobs of a kind come back; nothing leaves it as it is."""

    timezone: Annotated[
        str | None, Parameter(help="Where the expression is meant: Europe/Zurich; without it, UTC.")
    ] = None
    every: Annotated[str | None, Parameter(help="So long after the last run instead: 300, 15m, 12h, 7d.")] = None
    pause: Annotated[bool, Parameter(help="Let it rest until --resume.", negative="")] = False
    resume: Annotated[bool, Parameter(help="Let it come back again.", negative="")] = False
    default: Annotated[bool, Parameter(help="As it is without anything said.", negative="")] = False


AS_IT_IS: Final = When()


def schedule(
    kind: Annotated[str, Parameter(help="Such as content.collect; without it, all are listed.")] = "",
    cron: Annotated[str, Parameter(help='Such as "0 3 * * sun": minute, hour, day, month, day of the week.')] = "",
    /,
    *,
    when: When = AS_IT_IS,
    where: Anywhere = HERE,
) -> None:
    """List when the jobs that come back do so, or say when those of a kind do."""
    change = _change(cron, when)
    if not kind and (change or when.default):
        raise ClientError("of which kind? `entrepot jobs schedule` lists them")
    with open_api(where) as api:
        found = _ask(api, kind, change, when) if kind else collect(api, path_of(SCHEDULES), "schedules")
    if where.json:
        print_json(found)
    else:
        print_rows([_row(each) for each in (found if isinstance(found, list) else [found])], COLUMNS)


def _ask(api: Api, kind: str, change: dict[str, Any], when: When) -> Any:
    path = path_of(SCHEDULES, kind)
    if when.default:
        if change:
            raise ClientError("--default goes alone: it takes back all that was said")
        call(api, "DELETE", path)
    return call(api, "PATCH", path, change) if change else call(api, "GET", path)


def _change(cron: str, when: When) -> dict[str, Any]:
    if when.pause and when.resume:
        raise ClientError("either --pause or --resume")
    said = {
        "cron": cron or None,
        "every_seconds": None if when.every is None else _seconds(when.every),
        "timezone": when.timezone,
        "paused": when.pause if when.pause or when.resume else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _seconds(text: str) -> int:
    match = SPAN.fullmatch(text)
    if match is None:
        raise ClientError(f"a time is a number of seconds, or a number and m, h or d, such as 15m, not {text}")
    return int(match[1]) * UNITS[match[2]]


def _row(found: dict[str, Any]) -> dict[str, Any]:
    rule = "only when asked"
    if found["cron"]:
        rule = f"{found['cron']} {found['timezone']}"
    elif found["every_seconds"]:
        rule = f"every {found['every_seconds']} s"
    return {
        "kind": found["kind"],
        "rule": f"paused ({rule})" if found["paused"] else rule,
        "next_run": _local(found["next_run_at"], found["timezone"]),
        "changed_at": found["changed_at"] or "default",
    }


def _local(time: str | None, timezone: str | None) -> str:
    """A time as the clocks of the zone in which it was said show it."""
    if time is None:
        return "-"
    moment = datetime.fromisoformat(time)
    try:
        return moment.astimezone(ZoneInfo(timezone or "UTC")).isoformat(timespec="seconds")
    except (OSError, ValueError, KeyError):
        # This machine may know fewer zones than the server.
        return moment.isoformat(timespec="seconds")

"""`entrepot audit`: who did what, and whether anybody has touched the log of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import cyclopts
import msgspec
from cyclopts import Parameter

from entrepot.cli.output import clean, in_utc, print_json, print_rows
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import Api, call, pages, path_of
from entrepot.client.errors import ClientError

app = cyclopts.App(name="audit", help="Read the audit log, and see whether anybody has touched it.")
HERE = Anywhere()
COLUMNS: Final = ["id", "time", "category", "kind", "actor", "subject", "address", "method", "allowed", "count"]
DEFAULT_ENTRIES: Final = 50
MOST_ENTRIES: Final = 1000


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which records are meant."""

    actor: Annotated[str, Parameter(help="Who did it.")] = ""
    kind: Annotated[str, Parameter(help="What was done, such as grant.given or pull.")] = ""
    category: Annotated[str, Parameter(help="change, sign-in, denial, token, pull or audit.")] = ""
    subject: Annotated[str, Parameter(help="How what it is about begins, such as acme/.")] = ""
    namespace: Annotated[str, Parameter(help="Only what is about this namespace; its owners may ask.")] = ""
    address: Annotated[str, Parameter(help="From which address.")] = ""
    since: Annotated[datetime | None, Parameter(help="Not before this time; without a zone, UTC.")] = None
    until: Annotated[datetime | None, Parameter(help="Before this time; without a zone, UTC.")] = None
    day: Annotated[str, Parameter(help="Only this day (UTC), such as 2026-11-25.")] = ""
    denied: Annotated[bool, Parameter(help="Only what was not allowed.", negative="")] = False


ALL: Final = Which()


@app.command(name="list")
def list_(
    *,
    which: Which = ALL,
    limit: Annotated[int, Parameter(help="How many records at most.")] = DEFAULT_ENTRIES,
    where: Anywhere = HERE,
) -> None:
    """List records, the newest first."""
    with open_api(where) as api:
        found = list(islice(_records(api, which, min(limit, MOST_ENTRIES)), limit))
    if where.json:
        print_json(found)
    else:
        print_rows([_shown(record) for record in found], COLUMNS)


@app.command
def show(record: Annotated[int, Parameter(help="The id that `list` shows.")], /, *, where: Anywhere = HERE) -> None:
    """Show everything about one record that is still in the database."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("audit", "records", str(record)))
    if where.json:
        print_json(found)
        return
    width = max(len(name) for name in found)
    for name, value in found.items():
        text = msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value
        print(f"{name.replace('_', ' ').ljust(width)}  {clean(text)}")


@app.command
def export(*, which: Which = ALL, where: Anywhere = HERE) -> None:
    """Print every record as one JSON document a line, the newest first."""
    with open_api(where) as api:
        for record in _records(api, which, MOST_ENTRIES):
            print(msgspec.json.encode(record).decode())


@app.command
def root(*, where: Anywhere = HERE) -> None:
    """Print the newest signed root; kept elsewhere, it vouches for everything up to it."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("audit", "root"))
    if where.json:
        print_json(found)
    else:
        print(f"{found['number']}:{found['hash']}")
        print(f"sealed at {found['at']} by the key {found['fingerprint']}", file=sys.stderr)


@app.command
def verify(
    *,
    known: Annotated[str, Parameter(name="--root", help="A root that was kept elsewhere, as `root` prints it.")] = "",
    key: Annotated[
        list[str] | None, Parameter(help="Fingerprint of a key that may sign roots; others are findings.")
    ] = None,
    where: Anywhere = HERE,
) -> None:
    """See whether a record was changed, removed, moved or put in; exit code 1 with findings."""
    number, _, digest = known.partition(":")
    if known and not (number.isdecimal() and digest):
        raise ClientError("--root is NUMBER:HASH, as `entrepot audit root` prints it")
    if where.data or where.config:
        from entrepot.cli.local import verify_local  # noqa: PLC0415 - opening a database needs half of the server

        report = verify_local(where.config, where.data, (int(number), digest) if known else None)
    else:
        query = f"?{urlencode({'root': number, 'hash': digest})}" if known else ""
        with open_api(where) as api:
            report = call(api, "GET", path_of("audit", "verification") + query)
    _require_keys(report, key or [])
    if where.json:
        print_json(report)
    else:
        _tell(report)
    raise SystemExit(1 if report["found"] else 0)


def _require_keys(report: dict[str, Any], known: list[str]) -> None:
    """Whoever writes to the database can sign everything anew, but not by the same key."""
    for strange in [each for each in report["keys"] if known and each not in known]:
        problem = f"roots are signed by a key that is not one of yours: {strange}"
        report["findings"].append({"chain": "root", "sequence": 0, "at": None, "problem": problem})
        report["found"] += 1


def _records(api: Api, which: Which, limit: int) -> Iterator[dict[str, Any]]:
    since, until = in_utc(which.since), in_utc(which.until)
    if which.day:
        try:
            since = datetime.fromisoformat(f"{which.day}T00:00:00+00:00")
        except ValueError:
            raise ClientError(f"a day is written as 2026-11-25, not {which.day!r}") from None
        until = since + timedelta(days=1)
    wanted = {
        "actor": which.actor,
        "kind": which.kind,
        "category": which.category,
        "subject": which.subject,
        "namespace": which.namespace,
        "address": which.address,
        "since": since.isoformat() if since else "",
        "until": until.isoformat() if until else "",
        "allowed": "false" if which.denied else "",
        "n": limit,
    }
    query = urlencode({name: value for name, value in wanted.items() if value})
    for page in pages(api, f"{path_of('audit')}?{query}", "records"):
        yield from page


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "time": str(record["at"])[:19].replace("T", " "), "actor": record["actor"] or "-"}


def _tell(report: dict[str, Any]) -> None:
    for each in report["findings"]:
        when = f" ({each['at']})" if each["at"] else ""
        place = f"{each['chain']} {each['sequence']}" if each["chain"] else "no chain"
        print(f"{clean(place)}{when}: {clean(each['problem'])}")
    if report["found"] > len(report["findings"]):
        print(f"... and {report['found'] - len(report['findings'])} findings more")
    print(
        f"looked at {report['records']} records of {report['chains']} chains, {report['segments']} archived parts "
        f"({report['removed']} removed) and {report['roots']} roots: {report['found'] or 'no'} "
        f"finding{'' if report['found'] == 1 else 's'}"
    )
    if report["sealed_at"]:
        print(
            f"sealed at {report['sealed_at']}; root {clean(report['last_root'])}; signed by {len(report['keys'])} keys:"
        )
        print("\n".join(f"  {clean(key)}" for key in report["keys"]))

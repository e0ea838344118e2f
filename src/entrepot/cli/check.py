"""`entrepot check`: see that everything that is named is there and whole, beside a live server, and mend it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from entrepot.app import open_registry, open_source
from entrepot.cli.common import Config, Data, load_settings
from entrepot.client.credentials import CredentialsFile, Login
from entrepot.client.errors import ClientError
from entrepot.client.http import parse_server
from entrepot.core.check import Finding, How, Notice, Report, check, total_bytes
from entrepot.core.registry import SECOND, Registry
from entrepot.domain.json import render_json
from entrepot.ports.source import Source
from entrepot.settings import Settings
from entrepot.settings_sense import SettingsError
from entrepot.telemetry.logs import configure_logs

SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
AGE: Final = re.compile(r"(\d{1,6})([smhd])")
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST_AT_ONCE: Final = 64
MOST_TAGS_SHOWN: Final = 10
ROWS: Final = frozenset({"tag.dangling", "member.dangling", "manifest.incomplete"})


class Subject(msgspec.Struct):
    """A finding of an earlier report, of which only its name counts."""

    subject: str


class Earlier(msgspec.Struct):
    """What an earlier `entrepot check --json` printed, as far as it says what may be touched."""

    findings: list[Subject]
    removable: list[str] = []


@Parameter(name="*")
@dataclass(frozen=True)
class Looking:
    """How closely to look."""

    deep: Annotated[bool, Parameter(help="Read every byte; take damaged blobs out of service.", negative="")] = False
    sample: Annotated[
        str | None, Parameter(help="Read this share of the blobs whole, such as 5%, chosen anew each time.")
    ] = None
    older_than: Annotated[
        str | None,
        Parameter(help="Read only what was verified longer ago, such as 12h: a check that was broken off goes on."),
    ] = None
    at_once: Annotated[int, Parameter(help="How many blobs are read at the same time.")] = 4


@Parameter(name="*")
@dataclass(frozen=True)
class Mending:
    """What to do about what is found."""

    repair: Annotated[
        bool, Parameter(help="Heal what is broken, and delete files that nothing has named for a day.", negative="")
    ] = False
    source: Annotated[
        tuple[str, ...],
        Parameter(
            help="Where lost bytes may be: https://REGISTRY, file:///FOLDER, s3://BUCKET; give it several times.",
            negative="",
        ),
    ] = ()
    only: Annotated[
        pathlib.Path | None, Parameter(help="Touch only what this report of --json lists, judging each again.")
    ] = None


LOOKING = Looking()
MENDING = Mending()


def command(
    *,
    config: Config = None,
    data: Data = None,
    looking: Looking = LOOKING,
    mending: Mending = MENDING,
    json: Annotated[bool, Parameter(help="Print one JSON document.", negative="")] = False,
) -> None:
    """See that everything that is named is there, and mend it. Safe beside a running server.

    Exit code 0: nothing is wrong, or not any more; 1: something is.
    """
    settings = load_settings(config, data)
    configure_logs(settings.log.level)
    _require_database(settings)
    how = How(
        share=1.0 if looking.deep else _parse_share(looking.sample),
        verified_before=None if looking.older_than is None else _parse_age(looking.older_than),
        at_once=_require_at_once(looking.at_once),
        is_repair=mending.repair,
        only=None if mending.only is None else _read_earlier(mending.only),
    )
    report = asyncio.run(_run(settings, how, mending.source))
    if json:
        print(msgspec.json.format(render_json(report)).decode())
    else:
        _print(report, how)
    raise SystemExit(1 if report.found else 0)


async def _run(settings: Settings, how: How, urls: Sequence[str]) -> Report:
    async with open_registry(settings) as registry, _open_sources(urls) as sources:
        how = msgspec.structs.replace(how, sources=sources, verified_before=_ago(registry, how.verified_before))
        with _progress(await total_bytes(registry) if how.is_deep and how.only is None else 0) as notice:
            return await check(registry, how, notice)


def _ago(registry: Registry, seconds: int | None) -> int | None:
    return None if seconds is None else registry.clock.now() - seconds * SECOND


@asynccontextmanager
async def _open_sources(urls: Sequence[str]) -> AsyncIterator[list[Source]]:
    async with AsyncExitStack() as stack:
        opened = []
        for url in urls:
            login = _login_for(url)
            opened.append(open_source(url, login.username, login.password, login.ca))
            stack.push_async_callback(opened[-1].close)
        yield opened


def _login_for(url: str) -> Login:
    """What `entrepot login` keeps for the registry of a url. Raises ClientError."""
    if not url.startswith(("http://", "https://")):
        if "://" not in url:
            raise ClientError(f"{url!r} is no source; write it like https://registry.example.com or file:///backup")
        return Login()
    address = parse_server(url)
    servers = CredentialsFile(os.environ).load().servers
    origin = "/".join(address.split("/")[:3])
    return servers.get(address) or servers.get(origin) or Login()


@contextmanager
def _progress(total: int) -> Iterator[Notice]:
    console = Console(stderr=True)
    if not console.is_terminal or not total:
        yield lambda _what, _amount: None
        return
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=total)

        def notice(what: str, amount: int) -> None:
            if what == "bytes":
                bar.advance(task, amount)

        yield notice


def _require_database(settings: Settings) -> None:
    # Opening makes what is missing: a check of a mistyped folder would find a new, empty registry sound.
    scheme, _, path = settings.database_url.partition("://")
    if scheme == "sqlite" and not pathlib.Path(path).exists():
        raise SettingsError(f"there is no database at {path} to check: look at --data or --config")


def _require_at_once(number: int) -> int:
    if not 1 <= number <= MOST_AT_ONCE:
        raise SettingsError(f"--at-once is between 1 and {MOST_AT_ONCE}, not {number}")
    return number


def _parse_share(text: str | None) -> float:
    if text is None:
        return 0.0
    found = SHARE.fullmatch(text)
    share = float(found[1]) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise SettingsError(f"--sample is a share of the blobs, such as 5%, not {text!r}")
    return share


def _parse_age(text: str) -> int:
    found = AGE.fullmatch(text)
    if found is None:
        raise SettingsError(f"--older-than is a time such as 30m, 12h or 7d, not {text!r}")
    return int(found[1]) * SECONDS[found[2]]


def _read_earlier(path: pathlib.Path) -> frozenset[str]:
    """The tags, members, manifests, blobs and keys that an earlier report lists. Raises SettingsError."""
    try:
        earlier = msgspec.json.decode(path.read_bytes(), type=Earlier)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        raise SettingsError(f"{path} is no report: make one with entrepot check --deep --json > {path}") from None
    return frozenset({each.subject for each in earlier.findings} | set(earlier.removable))


def _print(report: Report, how: How) -> None:
    for finding in report.findings:
        print(_line(finding))
    if report.found > len(report.findings):
        print(f"... and {report.found - len(report.findings)} findings more")
    for repaired in report.repaired:
        what = "what it lacked was" if repaired.kind in ROWS else "its bytes were"
        print(f"repaired: {repaired.subject}: {repaired.kind}, {what} taken from {repaired.source}")
    for digest in report.healed:
        print(f"healed: {digest}: its bytes are what they should be again, and are served again")
    seen = f"{report.tags} tags, {report.members} members, {report.manifests} manifests and {report.blobs} blobs"
    print(
        f"{_said(report)} {seen} ({decimal(report.blob_bytes)}): {report.found or 'no'} "
        f"finding{'' if report.found == 1 else 's'}{f', {report.mended} repaired' if report.mended else ''}"
    )
    _print_keys(report, how)
    if report.found and not report.is_deep:
        print("a deep check (--deep) takes blobs that cannot be read whole out of service", file=sys.stderr)


def _said(report: Report) -> str:
    if report.is_deep and report.blobs_read == report.blobs:
        return "read every byte of"
    return f"read {report.blobs_read} blobs whole, and looked at" if report.blobs_read else "looked at"


def _print_keys(report: Report, how: How) -> None:
    keys = report.keys
    if keys is None:
        return
    print(
        f"for information: {keys.held} files in the store, {keys.uploading} being uploaded, "
        f"{keys.unreferenced} ({decimal(keys.unreferenced_bytes)}) that nothing names"
    )
    if keys.refusal:
        print(f"not deleted: {keys.refusal}", file=sys.stderr)
    elif keys.removed:
        print(f"deleted {keys.removed} of them, a day old at least ({decimal(keys.removed_bytes)})")
    elif keys.removable and not how.is_repair:
        print(f"{keys.removable} of them are a day old: --repair deletes them")


def _line(finding: Finding) -> str:
    where = f" [in {', '.join(finding.repositories)}]" if finding.repositories else ""
    state = "; quarantined: push the same bytes again to heal it" if finding.quarantined else ""
    more = len(finding.tags) - MOST_TAGS_SHOWN
    tags = f"; breaks {', '.join(finding.tags[:MOST_TAGS_SHOWN])}" if finding.tags else ""
    tags += f" and {more} tags more" if more > 0 else ""
    what = "what it lacks" if finding.kind in ROWS else "its bytes"
    remedy = f"; --repair takes {what} from {finding.remedy}" if finding.remedy else ""
    refused = "".join(f"; {refusal}" for refusal in finding.refusals)
    return f"{finding.kind}: {finding.subject}: {finding.problem}{state}{tags}{remedy}{refused}{where}"

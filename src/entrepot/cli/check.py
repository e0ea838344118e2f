"""`entrepot check`: see that everything that is named is there, beside a live server."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

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

from entrepot.app import open_registry
from entrepot.cli.common import Config, Data, load_settings
from entrepot.core.check import Finding, Notice, Report, check, total_bytes
from entrepot.domain.json import render_json
from entrepot.settings import Settings, SettingsError
from entrepot.telemetry.logs import configure_logs


def command(
    *,
    config: Config = None,
    data: Data = None,
    deep: Annotated[bool, Parameter(help="Read every byte; take damaged blobs out of service.", negative="")] = False,
    json: Annotated[bool, Parameter(help="Print one JSON document.", negative="")] = False,
) -> None:
    """See that everything that is named is there; exit code 1 with findings. Safe beside a running server."""
    settings = load_settings(config, data)
    configure_logs(settings.log.level)
    _require_database(settings)
    report = asyncio.run(_run(settings, is_deep=deep))
    if json:
        print(msgspec.json.format(render_json(report)).decode())
    else:
        _print(report)
    raise SystemExit(1 if report.found else 0)


async def _run(settings: Settings, *, is_deep: bool) -> Report:
    async with open_registry(settings) as registry:
        with _progress(await total_bytes(registry) if is_deep else 0) as notice:
            return await check(registry, is_deep=is_deep, notice=notice)


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


def _print(report: Report) -> None:
    for finding in report.findings:
        print(_line(finding))
    if report.found > len(report.findings):
        print(f"... and {report.found - len(report.findings)} findings more")
    for digest in report.healed:
        print(f"healed: {digest}: its bytes are what they should be again, and are served again")
    how = "read every byte of" if report.is_deep else "looked at"
    print(
        f"{how} {report.tags} tags, {report.members} members, {report.manifests} manifests and {report.blobs} blobs "
        f"({decimal(report.blob_bytes)}): {report.found or 'no'} finding{'' if report.found == 1 else 's'}"
    )
    if report.keys is not None:
        print(
            f"for information: {report.keys.held} files in the store, {report.keys.uploading} being uploaded, "
            f"{report.keys.unreferenced} that nothing names"
        )
    if report.found and not report.is_deep:
        print("a deep check (--deep) takes blobs that cannot be read whole out of service", file=sys.stderr)


def _line(finding: Finding) -> str:
    where = f" [in {', '.join(finding.repositories)}]" if finding.repositories else ""
    state = "; quarantined: push the same bytes again to heal it" if finding.quarantined else ""
    return f"{finding.kind}: {finding.subject}: {finding.problem}{state}{where}"

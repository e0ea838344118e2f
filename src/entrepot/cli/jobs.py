"""`entrepot jobs`: what the registry does beside requests."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

import cyclopts
from cyclopts import Parameter

from entrepot.cli.job_schedule import schedule
from entrepot.cli.output import print_fields, print_json, print_rows
from entrepot.cli.progress import told
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of

app = cyclopts.App(name="jobs", help="List, count, show, cancel, retry and schedule the jobs of the registry.")
app.command(schedule)
HERE = Anywhere()

Number = Annotated[int, Parameter(help="The id of a job, as `entrepot jobs list` shows it.")]


@app.command(name="list")
def list_(
    *,
    state: Annotated[Literal["pending", "running", "dead"] | None, Parameter(help="Only jobs in this state.")] = None,
    kind: Annotated[str, Parameter(help="Only jobs of this kind, such as content.collect.")] = "",
    where: Anywhere = HERE,
) -> None:
    """List jobs that wait, run or were given up, the oldest first."""
    query = urlencode({name: value for name, value in (("state", state), ("kind", kind)) if value})
    with open_api(where) as api:
        found = collect(api, path_of("jobs") + (f"?{query}" if query else ""), "jobs")
    if where.json:
        print_json(found)
    else:
        rows = [{**job, "progress": told(job["progress"])} for job in found]
        print_rows(rows, ["id", "kind", "key", "state", "attempts", "run_at", "progress", "error"])


@app.command
def counts(*, where: Anywhere = HERE) -> None:
    """Show how many jobs wait, run or were given up, each counted up to 100,000."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("jobs", "counts"))
    if where.json:
        print_json(found)
    else:
        print_fields(found)


@app.command
def show(job: Number, /, *, where: Anywhere = HERE) -> None:
    """Show one job, and how far it is."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("jobs", str(job)))
    if where.json:
        print_json(found)
    else:
        print_fields({**found, "progress": told(found["progress"])})


@app.command
def cancel(job: Number, /, *, where: Anywhere = HERE) -> None:
    """Take a job out of the queue, or tell the one that runs to stop."""
    with open_api(where) as api:
        call(api, "DELETE", path_of("jobs", str(job)))
    _say(job, "cancelled", is_json=where.json)


@app.command
def retry(job: Number, /, *, where: Anywhere = HERE) -> None:
    """Let a job that was given up, or that waits for its time, run now."""
    with open_api(where) as api:
        call(api, "POST", path_of("jobs", str(job), "retry"))
    _say(job, "retried", is_json=where.json)


def _say(job: int, what: str, *, is_json: bool) -> None:
    if is_json:
        print_json({what: job})
    else:
        print(f"job {job} {what}")

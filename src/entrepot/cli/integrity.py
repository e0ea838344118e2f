"""`entrepot integrity`: whether stored bytes are what they should be, as the server knows it."""

from __future__ import annotations

import cyclopts
from rich.filesize import decimal

from entrepot.cli.output import clean, print_json
from entrepot.cli.target import Anywhere, open_api
from entrepot.client.api import call, collect, path_of

app = cyclopts.App(name="integrity", help="Show which blobs are damaged, and read all of them again.")
HERE = Anywhere()


@app.command
def status(*, where: Anywhere = HERE) -> None:
    """Show how many blobs are damaged, and how far reading all of them again has come."""
    with open_api(where) as api:
        found = call(api, "GET", path_of("integrity"))
    if where.json:
        print_json(found)
        return
    pace = f"{decimal(found['bytes_per_second'])}/s at most" if found["bytes_per_second"] else "never"
    print(f"damaged blobs: {found['damaged']}")
    print(f"oldest verification: {clean(found['oldest'])}")
    print(f"read again: every {found['days']} days, {pace}; {'running now' if found['running'] else 'resting'}")
    print(f"due: {found['due']} blobs")
    print(f"read so far: {found['read_blobs']} blobs, {decimal(found['read_bytes'])}")
    print(f"found so far: {found['found_damaged']} damaged, {found['found_unreadable']} unreadable")


@app.command
def damaged(*, where: Anywhere = HERE) -> None:
    """List the blobs that are served to nobody, with the tags that they break; exit code 1 if there are any."""
    with open_api(where) as api:
        blobs = collect(api, path_of("integrity", "damaged"), "blobs")
    if where.json:
        print_json(blobs)
    else:
        for blob in blobs:
            print(f"{clean(blob['digest'])}: breaks {clean(', '.join(blob['tags']) or 'no tag')}")
    raise SystemExit(1 if blobs else 0)


@app.command
def start(*, where: Anywhere = HERE) -> None:
    """Let every blob be read again, beginning now."""
    with open_api(where) as api:
        found = call(api, "POST", path_of("integrity", "scrub"))
    if where.json:
        print_json(found)
    else:
        print(f"queued: {found['due']} blobs to read")

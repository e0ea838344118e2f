"""The table of commands."""

from __future__ import annotations

import sys

import cyclopts

from entrepot import __version__
from entrepot.domain.errors import EntrepotError
from entrepot.settings import SettingsError

app = cyclopts.App(
    name="entrepot",
    help="A self-hosted registry for container images and packages.",
    version=__version__,
)
app.command("entrepot.cli.serve:serve", name="serve")
app.command("entrepot.cli.worker:worker", name="worker")
app.command("entrepot.cli.check:command", name="check")


def main() -> None:
    """Run the command line; errors that a user can act on are one line, never a traceback."""
    try:
        app()
    except (SettingsError, EntrepotError) as error:
        print(f"entrepot: {error}", file=sys.stderr)
        raise SystemExit(1) from None

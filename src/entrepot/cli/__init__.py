"""The command `entrepot`: one file per command, imported when it is called."""

from entrepot.cli.main import main

__all__ = ["main"]

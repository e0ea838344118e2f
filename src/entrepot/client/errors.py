"""What goes wrong between the command line and a registry."""

from __future__ import annotations


class ClientError(Exception):
    """One line for people: what went wrong, and what to do."""

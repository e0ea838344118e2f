"""What goes wrong between the command line and a registry."""

from __future__ import annotations


class ClientError(Exception):
    """One line for people: what went wrong, and what to do; `code` is the server's word for it, if it said one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

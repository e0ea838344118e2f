"""What goes wrong between the command line and a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# What a refusal lists besides: what could have been written instead.
CHOICES: Final = ("allowed", "known")


class ClientError(Exception):
    """One line for people: what went wrong, and what to do; `code` is the server's word for it, if it said one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def sentence_of(message: str, detail: Mapping[str, Any]) -> str:
    """A refusal in one sentence: the path of the field that it is about, what is wrong, and what could be written."""
    field = str(detail.get("field") or "")
    parts = [message if not field or message.startswith(f"{field}: ") else f"{field}: {message}"]
    for name in CHOICES:
        choices = detail.get(name)
        if isinstance(choices, list) and not all(str(choice) in message for choice in choices):
            parts.append(f"there are: {', '.join(str(choice) for choice in choices)}")
    return "; ".join(parts)

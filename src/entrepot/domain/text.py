"""Text from outside."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text with `?` for what no database takes: NUL, and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")

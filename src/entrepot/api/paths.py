"""Names of repositories inside paths: `acme%2Fapp` as URL libraries write them, or `acme/app` as people do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

REPOSITORIES: Final = ["", "api", "v1", "repositories"]
SLASH: Final = "%2F"

# What may follow the name of a repository; None stands for one segment. The longest that fits wins.
TAILS: Final[tuple[tuple[str | None, ...], ...]] = (
    ("tags", None, "history"),
    ("tags", None, "rollback"),
    ("members", None),
    ("tags", None),
    ("members",),
    ("tags",),
    ("deleted-tags",),
    ("trash",),
    ("restore",),
    (),
)


def rewrite(scope: Mapping[str, Any]) -> str:
    """The path with the slashes of a repository's name escaped, so that the name is one segment.

    Written `acme%2Fapp`, a name is taken as it is; written `acme/app`, the path is read from the right, as OCI paths
    are: `acme/tags/x` is the tag `x` of `library/acme`, and `acme%2Ftags%2Fx` a repository.
    """
    raw = scope.get("raw_path") or b""
    path = raw.decode("ascii", "replace").partition("?")[0] if raw else str(scope["path"])
    segments = path.rstrip("/").split("/")
    depth = len(REPOSITORIES)
    if segments[:depth] != REPOSITORIES or len(segments) == depth:
        return str(scope["path"])
    rest = [unquote(segment) if raw else segment for segment in segments[depth:]]
    cut = 1 if "/" in rest[0] else len(rest) - _tail_length(rest)
    named = ["/".join(rest[:cut]), *rest[cut:]]
    return "/".join([*REPOSITORIES, *(segment.replace("/", SLASH) for segment in named)])


def restore(segment: str) -> str:
    """The name behind a segment that `rewrite` made."""
    return segment.replace(SLASH, "/").replace(SLASH.lower(), "/")


def _tail_length(segments: list[str]) -> int:
    return next(len(tail) for tail in TAILS if len(tail) < len(segments) and _ends(segments, tail))


def _ends(segments: list[str], tail: tuple[str | None, ...]) -> bool:
    end = segments[len(segments) - len(tail) :]
    return all(wanted in {None, got} for wanted, got in zip(tail, end, strict=True))

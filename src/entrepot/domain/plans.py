"""Plans: how many images somebody may pull within a span of time, and who has which.

The rules are Docker Hub's (docs.docker.com, "Docker Hub pull usage and limits"): a pull is a GET of the manifest of an
image, whoever pulls bears it and not whose image it is, a limit is the highest of one's own and of the organisations
that one belongs to. A window begins with the first pull and is counted from nothing once it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from entrepot.domain.media_types import IMAGES

SECOND: Final = 1_000_000


class Plan(msgspec.Struct, frozen=True):
    """So many pulls in so many seconds; None is any number."""

    name: str
    pulls: int | None
    window_seconds: int

    @property
    def window(self) -> int:
        """The length of a window in microseconds."""
        return self.window_seconds * SECOND


class PlanBook(msgspec.Struct, frozen=True):
    """Who has which plan: those without a login, those with one, and accounts that were assigned another."""

    anonymous: Plan | None = None
    signed_in: Plan | None = None
    assigned: dict[int, Plan] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody has any."""
        return self.anonymous is None and self.signed_in is None and not self.assigned

    def find(self, account: int, organisations: Iterable[int]) -> Plan | None:
        """The plan of an account that belongs to these organisations; None where nothing limits it."""
        own = self.assigned.get(account, self.signed_in)
        if own is None:
            return None
        return max([own, *(self.assigned[each] for each in organisations if each in self.assigned)], key=_worth)


class Window(msgspec.Struct, frozen=True):
    """What was pulled since a window began (microseconds)."""

    began_at: int
    pulls: int


class _Document(msgspec.Struct):
    subject: object = None


_decoder: Final = msgspec.json.Decoder(_Document)


def is_pull(media_type: str, raw: bytes) -> bool:
    """Whether a GET of a manifest is a pull: not of an index, which leads to one, nor of what is said about an image.

    What has a subject (a signature, an SBOM) is fetched along with the image that it is about.
    """
    return media_type in IMAGES and _decoder.decode(raw).subject is None


def _worth(plan: Plan) -> tuple[float, int]:
    return (float("inf"), 0) if plan.pulls is None else (plan.pulls / plan.window_seconds, plan.pulls)

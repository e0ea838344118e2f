"""Who a grant is for, as people write it: `user:NAME`, `service:NAME`, `team:ORG/NAME`, `everyone`, `signed-in`."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from entrepot.domain.errors import RequestInvalid

SubjectWord = Literal["user", "service", "team", "everyone", "signed-in"]
ROBOT: Final = "robot$"
ALONE: Final[tuple[SubjectWord, ...]] = ("everyone", "signed-in")
NAMED: Final[tuple[SubjectWord, ...]] = ("user", "service", "team")


class SubjectName(msgspec.Struct, frozen=True):
    """A kind and a name: of an account, or of a team as `organisation/team`; empty for those that are many."""

    word: SubjectWord
    name: str = ""

    def __str__(self) -> str:
        return f"{self.word}:{self.name.removeprefix(ROBOT)}" if self.name else self.word


def parse_subject(text: str, field: str = "subject") -> SubjectName:
    """What a text names. Raises RequestInvalid with the field and what is allowed."""
    for alone in ALONE:
        if text == alone:
            return SubjectName(alone)
    word, colon, name = text.partition(":")
    for named in NAMED:
        if colon and name and word == named and (named == "team") == ("/" in name):
            return SubjectName(named, f"{ROBOT}{name.removeprefix(ROBOT)}" if named == "service" else name)
    raise RequestInvalid(
        "a grant is for user:NAME, service:NAME, team:ORGANISATION/NAME, signed-in or everyone",
        field=field,
        got=text[:255],
    )


def subject_of(kind: str, name: str, account_kind: str) -> SubjectName:
    """The subject of a stored grant."""
    for alone in ALONE:
        if kind == alone:
            return SubjectName(alone)
    if kind == "team":
        return SubjectName("team", name)
    return SubjectName("service" if account_kind == "service" else "user", name)

"""Migrations only add, so that the version before goes on beside them; what takes away says since when it may."""

from __future__ import annotations

import re
from typing import Final

import pytest

from entrepot import __version__
from entrepot.db.migrate import CONTRACT, Migration, list_migrations

# Made before the first release, when no version ran beside another one.
BEFORE_THE_RULE: Final = {3: {"rename", "drop"}}
TABLE: Final = re.compile(r'create table (?:if not exists )?"?(\w+)"?')
BREAKS: Final = {
    "drop": r"\bdrop (table|column|index|view|constraint)\b",
    "rename": r"\brename\b",
    "alter column": r"\balter column\b",
    "constraint": r"\badd (constraint|check|unique|primary key|foreign key)\b",
    "not null without default": r"\badd column\b(?!.*\bdefault\b).*\bnot null\b",
    "delete": r"\bdelete from\b|\btruncate\b",
    "trigger": r"\bcreate (or replace )?(trigger|rule)\b",
}
UNIQUE: Final = re.compile(r'create unique index \w+ on "?(\w+)"?')


def list_breaks(sql: str) -> set[str]:
    """What in a migration an older version that runs beside it would stumble over."""
    found = set()
    made = set(TABLE.findall(sql))
    for statement in sql.lower().split(";"):
        flat = " ".join(statement.split())
        found |= {name for name, pattern in BREAKS.items() if re.search(pattern, flat)}
        unique = UNIQUE.search(flat)
        # On a column that is new in the same step no older version writes.
        if unique and unique[1] not in made and not _is_of_new_columns(flat, sql):
            found.add("unique index on rows of others")
    return found


def _is_of_new_columns(index: str, sql: str) -> bool:
    columns = re.search(r"\(([^)]*)\)", index)
    assert columns is not None
    return all(f"add column {name.strip()} " in sql for name in columns[1].split(","))


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("create table a (id bigint not null); create unique index b on a (id)", set()),
        ("alter table a add column b text not null default ''", set()),
        ("alter table a add column b bigint", set()),
        ("alter table a add column b text not null default ''; create unique index c on a (b) where b <> ''", set()),
        ("create index b on a (id)", set()),
        ("alter table a add column b text not null", {"not null without default"}),
        ("alter table a\n  drop column b", {"drop"}),
        ("drop index b", {"drop"}),
        ("alter table a rename to b", {"rename"}),
        ("alter table a alter column b type bigint", {"alter column"}),
        ("alter table a alter column b set not null", {"alter column"}),
        ("alter table a add constraint b check (c > 0)", {"constraint"}),
        ("create unique index b on a (c)", {"unique index on rows of others"}),
        ("delete from a", {"delete"}),
    ],
)
def test_what_breaks_is_known(sql: str, found: set[str]) -> None:
    """The rule is found broken where it is, and nowhere else."""
    assert list_breaks(sql) == found


@pytest.mark.parametrize("step", list_migrations({}), ids=lambda step: step.name)
def test_migrations_only_add(step: Migration) -> None:
    """A step that takes away is marked `-- contract: VERSION`, by the first version that does without what it takes."""
    breaks = list_breaks(step.sql)
    if step.contract:
        assert _parts(step.contract) < _parts(__version__), (
            f"{step.name}: release {step.contract} first (decision 0025)"
        )
    else:
        assert breaks == BEFORE_THE_RULE.get(step.number, set()), f"{step.name}: decision 0025"


def test_a_mark_is_read() -> None:
    """The mark is a line of its own with a version."""
    assert CONTRACT.search("-- Nobody uses it.\n-- contract: 1.2.0\ndrop table a;")[1] == "1.2.0"  # type: ignore[index]
    assert CONTRACT.search("-- a contract: 1.2.0\ndrop table a;") is None


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]

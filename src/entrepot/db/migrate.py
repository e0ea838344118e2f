"""Migrations as data: numbered files with checksums, rendered for an engine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

import msgspec

from entrepot.domain.errors import Unavailable

FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
LEDGER: Final = (
    "create table if not exists migration "
    "(number integer primary key, name text not null, checksum text not null, applied_at bigint not null)"
)
INSERT: Final = "insert into migration (number, name, checksum, applied_at) values ($1, $2, $3, $4)"
SELECT: Final = "select number, checksum from migration order by number"


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema. The checksum is over the file as shipped, not as rendered."""

    number: int
    name: str
    checksum: str
    sql: str


def list_migrations(dialect: Mapping[str, str]) -> list[Migration]:
    """Every migration in order, its `{words}` replaced by the engine's."""
    found = []
    for file in resources.files("entrepot.db.migrations").iterdir():
        match = FILE_NAME.fullmatch(file.name)
        if match:
            text = file.read_text(encoding="utf-8")
            found.append(
                Migration(int(match[1]), match[2], hashlib.sha256(text.encode()).hexdigest(), _render(text, dialect))
            )
    return sorted(found, key=lambda migration: migration.number)


def list_pending(migrations: list[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Those not applied yet. Raises Unavailable when the database is newer, or was made by other files."""
    known = {migration.number: migration for migration in migrations}
    for number, checksum in applied.items():
        if number not in known:
            raise Unavailable(
                f"the database has migration {number:04}, which this version does not know: run a newer entrepot",
                migration=number,
            )
        if known[number].checksum != checksum:
            raise Unavailable(f"migration {number:04} of the database is not the one shipped here", migration=number)
    return [migration for migration in migrations if migration.number not in applied]


def _render(text: str, dialect: Mapping[str, str]) -> str:
    code = re.sub(r"--.*", "", text)
    for word, replacement in dialect.items():
        code = code.replace(word, replacement)
    return code

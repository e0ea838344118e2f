"""Migrations as data: numbered files with checksums, rendered for an engine."""

from __future__ import annotations

import functools
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
CONTRACT: Final = re.compile(r"^-- contract: (\d+\.\d+\.\d+)$", re.MULTILINE)


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema. The checksum is over the file as shipped, not as rendered.

    `contract` is empty for a step that only adds, beside which the version before goes on (decision 0025). Else it is
    the first version that does not use what the step takes away: nothing older may run beside it.
    """

    number: int
    name: str
    checksum: str
    sql: str
    contract: str = ""


def list_migrations(dialect: Mapping[str, str]) -> list[Migration]:
    """Every migration in order, its `{words}` replaced by the engine's."""
    return [msgspec.structs.replace(each, sql=_render(each.sql, dialect)) for each in _read_shipped()]


@functools.cache
def _read_shipped() -> tuple[Migration, ...]:
    """Every migration in order, without comments: a process opens its database more than once."""
    found = []
    for file in resources.files("entrepot.db.migrations").iterdir():
        match = FILE_NAME.fullmatch(file.name)
        if match:
            text = file.read_text(encoding="utf-8")
            checksum, contract = hashlib.sha256(text.encode()).hexdigest(), CONTRACT.search(text)
            code = re.sub(r"--.*", "", text)
            found.append(Migration(int(match[1]), match[2], checksum, code, contract[1] if contract else ""))
    return tuple(sorted(found, key=lambda migration: migration.number))


def list_pending(
    migrations: list[Migration], applied: Mapping[int, str], *, tolerates_newer: bool = False
) -> list[Migration]:
    """Those not applied yet. Raises Unavailable when the database is newer, or was made by other files.

    `tolerates_newer` is for a process that replaces one of a server which had started before the database became newer.
    """
    known = {migration.number: migration for migration in migrations}
    newer = [number for number in applied if number not in known]
    if newer and not tolerates_newer:
        raise Unavailable(
            f"the database is newer than this entrepot: it has migration {max(newer):04}, and {max(known):04} is the "
            "last one known here. Run the version that upgraded it, or a later one; to go back, restore the backup "
            "that was made before the upgrade",
            migration=max(newer),
        )
    for number, migration in known.items():
        if applied.get(number, migration.checksum) != migration.checksum:
            raise Unavailable(
                f"migration {number:04} of the database is not the one shipped here: run the version that made it",
                migration=number,
            )
    return [migration for migration in migrations if migration.number not in applied]


def _render(code: str, dialect: Mapping[str, str]) -> str:
    for word, replacement in dialect.items():
        code = code.replace(word, replacement)
    return code

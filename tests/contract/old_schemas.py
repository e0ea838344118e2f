"""Databases as earlier versions left them: built up to one migration, with rows in every table that there is."""

from __future__ import annotations

import asyncio
import importlib
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw
import asyncpg
import msgspec

from entrepot.db import migrate
from entrepot.ports.database import Row

NUMBERS: Final = [step.number for step in migrate.list_migrations({})]
# Texts that are read as JSON, or as one of a few words, whenever the registry looks at the table.
LISTS: Final = frozenset({"actions", "audiences", "regions", "scopes", "domains", "groups", "listeners"})
OBJECTS: Final = frozenset({"conditions", "detail", "payload", "summary", "document"})
WORDS: Final = {
    ("issuer", "kind"): "oidc",
    ("audit_segment", "pieces"): "[]",
    ("role", "actions"): '["pull"]',
    ("invitation", "role"): "member",
}
# What a database says of itself, differently after each start or on each engine.
NOT_COPIED: Final = frozenset({("event", "transaction_id")})


class Column(msgspec.Struct, frozen=True):
    """One column: `is_needed` is one that has no default and may not be null; `refers_to` is (table, column)."""

    name: str
    kind: str
    is_needed: bool
    refers_to: tuple[str, str] | None


Schema = dict[str, list[Column]]


def schema_of(path: pathlib.Path) -> Schema:
    """The tables of a SQLite database, which are those of every engine."""
    connection = apsw.Connection(str(path))
    names = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name"
    tables = {}
    for (table,) in list(connection.execute(names)):
        foreign = list(connection.execute(f'select "from", "table", "to" from pragma_foreign_key_list(\'{table}\')'))
        refers = {column: (other, there or "id") for column, other, there in foreign}
        info = list(
            connection.execute(f"select name, type, \"notnull\", dflt_value, pk from pragma_table_info('{table}')")
        )
        is_counted = [row[4] for row in info].count(1) == 1 and any(
            row[0] == "id" and row[1] == "integer" for row in info
        )
        tables[table] = [
            Column(
                name,
                str(kind).lower(),
                bool(notnull or pk) and default is None and not (name == "id" and is_counted),
                refers.get(name),
            )
            for name, kind, notnull, default, pk in info
        ]
    connection.close()
    return tables


class Old:
    """A database that has the migrations up to `number`, reached without the program: rows in, rows out."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.engine = url.partition("://")[0]
        self._runner = asyncio.Runner()
        self._connection: Any = self._open()
        dialect = importlib.import_module(f"entrepot.db.{self.engine}").DIALECT
        steps = [step for step in migrate.list_migrations(dialect) if step.number <= number]
        for sql in (migrate.LEDGER, *(step.sql for step in steps)):
            self.run(sql)
        self.run_many(migrate.INSERT, [(step.number, step.name, step.checksum, 0) for step in steps])

    def _open(self) -> Any:
        if self.engine == "postgresql":
            return self._runner.run(asyncpg.connect(self.url, statement_cache_size=0))
        connection = apsw.Connection(self.url.removeprefix("sqlite://"))
        connection.execute("pragma synchronous = off")
        return connection

    def close(self) -> None:
        """Let go of it."""
        if self.engine == "postgresql":
            self._runner.run(self._connection.close())
        else:
            self._connection.close()
        self._runner.close()

    def run(self, sql: str) -> None:
        """Statements without arguments."""
        if self.engine == "postgresql":
            self._runner.run(self._connection.execute(sql))
        else:
            self._connection.execute(sql)

    def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement for each row of arguments."""
        if self.engine == "postgresql":
            self._runner.run(self._connection.executemany(sql, [list(row) for row in rows]))
        else:
            self._connection.executemany(re.sub(r"\$(\d+)", r"?\1", sql), [tuple(row) for row in rows])

    def rows(self, table: str, columns: Iterable[str]) -> list[Row]:
        """All rows of a table, in no order that means anything."""
        sql = f'select {", ".join(quoted(columns))} from "{table}"'
        if self.engine == "postgresql":
            found = self._runner.run(self._connection.fetch(sql))
        else:
            found = self._connection.execute(sql)
        return sorted((tuple(row) for row in found), key=repr)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows; what counts itself goes on after the largest."""
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        self.run_many(f'insert into "{table}" ({", ".join(quoted(columns))}) values ({places})', rows)
        if self.engine == "postgresql" and "id" in columns and isinstance(rows[0][columns.index("id")], int):
            counter = f"pg_get_serial_sequence('\"{table}\"', 'id')"
            self.run(f'select setval({counter}, (select max(id) from "{table}")) where {counter} is not null')


def quoted(columns: Iterable[str]) -> list[str]:
    """Names as both engines take them."""
    return [f'"{column}"' for column in columns]


def fill(old: Old, schema: Schema, donor: pathlib.Path) -> None:
    """Rows in every table: those of a registry of today where it has some, as far as columns were there; made-up ones
    in all other tables, one with what it needs and one with everything.
    """
    source, today = apsw.Connection(str(donor)), schema_of(donor)
    for table in _in_order(schema):
        names = [column.name for column in schema[table]]
        common = [
            column.name
            for column in today.get(table, [])
            if column.name in names and (table, column.name) not in NOT_COPIED
        ]
        needed = {column.name for column in schema[table] if column.is_needed}
        rows = []
        if common and needed <= set(common):
            rows = [tuple(row) for row in source.execute(f'select {", ".join(quoted(common))} from "{table}"')]
        if old.rows(table, [schema[table][0].name]):
            # A migration itself has put something in.
            continue
        if rows:
            old.insert(table, common, rows)
            continue
        for number in (1, 2):
            columns = [
                column for column in schema[table] if column.is_needed or (number == 2 and not _is_counter(column))
            ]
            old.insert(
                table, [column.name for column in columns], [[_value(old, table, column, number) for column in columns]]
            )
    source.close()


def _is_counter(column: Column) -> bool:
    return column.name == "id" and column.kind == "integer"


def _value(old: Old, table: str, column: Column, number: int) -> object:
    if column.refers_to is not None:
        other, there = column.refers_to
        values = old.rows(other, [there])
        return values[min(number, len(values)) - 1][0]
    if (table, column.name) in WORDS:
        return WORDS[table, column.name]
    if column.kind in {"integer", "bigint"}:
        # A flag is 0 or 1; of 1 all others are different from 2, and from none that is there.
        return number % 2 if column.name.startswith("is_") else number
    if column.kind in {"blob", "bytea"}:
        return b"bytes %d" % number
    if column.name in LISTS:
        return f'["{column.name}-{number}"]'
    return "{}" if column.name in OBJECTS else f"{table}-{column.name}-{number}"


def _in_order(schema: Schema) -> list[str]:
    """Tables after those that they refer to."""
    placed: list[str] = []
    while len(placed) < len(schema):
        for table, columns in schema.items():
            others = {column.refers_to[0] for column in columns if column.refers_to} - {table}
            if table not in placed and others <= set(placed) | {"namespace"} | (
                {"account"} if table == "namespace" else set()
            ):
                placed.append(table)
    return placed

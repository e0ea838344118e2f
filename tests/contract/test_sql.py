"""Rules for the SQL that both engines run, and that no query goes without a contract test."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

import entrepot

SOURCE = pathlib.Path(entrepot.__file__).parent
STATEMENT = re.compile(r"\s*(select|insert|update|delete|with)\b", re.IGNORECASE)
FUNCTIONS = [
    (path.stem, node.name)
    for path in sorted((SOURCE / "metadata").glob("*.py"))
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_")
]


def literals(node: ast.AST) -> Iterator[str]:
    """The outermost texts below a node: formatted ones with a gap for each value, added ones joined."""
    text = _text(node)
    if text is not None:
        yield text
        return
    for child in ast.iter_child_nodes(node):
        yield from literals(child)


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            texts = [_text(left), _text(right)]
            return "".join(text or "{}" for text in texts) if any(text is not None for text in texts) else None
        case _:
            return None


def complaint(sql: str) -> str | None:
    """What is wrong with the placeholders of a statement."""
    numbers = [int(number) for number in re.findall(r"\$(\d+)", sql)]
    first_uses = list(dict.fromkeys(numbers))
    if first_uses != sorted(first_uses):
        return f"first uses do not ascend: {first_uses}"
    # Where a statement is put together, its parts may hold numbers that are not seen here.
    if "{" not in sql and first_uses != list(range(1, len(first_uses) + 1)):
        return f"numbers are left out: {first_uses}"
    return None


def statements() -> list[tuple[str, str]]:
    """(file, statement) of every statement in the sources."""
    found: list[tuple[str, str]] = []
    for path in sorted(SOURCE.rglob("*.py")):
        texts = literals(ast.parse(path.read_text()))
        found += [(str(path.relative_to(SOURCE)), text) for text in texts if STATEMENT.match(text)]
    return found


def test_placeholders_ascend() -> None:
    """In every statement the first uses of $1, $2 ... ascend, and every number below the highest is used."""
    found = statements()
    assert [f"{path}: {problem}: {sql}" for path, sql in found if (problem := complaint(sql))] == []
    assert len([path for path, sql in found if path.startswith("metadata/") and "$1" in sql]) > 40


@pytest.mark.parametrize(
    ("sql", "is_right"),
    [
        ("select $1, $2, $1", True),
        ("select 1", True),
        ("select $2, $1", False),
        ("select $1, $3", False),
        ("select $2", False),
        ("update {} set a = $3 where b = $2", False),
        ("select {} where a = $2", True),
    ],
)
def test_the_rule_finds_what_it_should(sql: str, is_right: bool) -> None:
    """The rule itself tells right from wrong."""
    assert (complaint(sql) is None) is is_right


def test_columns_are_named() -> None:
    """No statement counts on how many columns a table has: an older version runs beside migrations that add some."""
    for path, sql in statements():
        assert not re.search(r"select \*|returning \*", sql), (path, sql)
        assert not re.search(r'insert into "?[\w{}]+"? (values|select)', sql), (path, sql)
    assert any(re.search(r'insert into "?\w+"? \(', sql) for _, sql in statements())


def test_texts_are_found_however_they_are_written() -> None:
    """Joined, added and formatted texts are read as one statement."""
    for code in ('"select " "$2"', '"select " + "$2"', 'f"select {x} $2"', '"select {x} $2".format(x=1)'):
        [text] = [text for text in literals(ast.parse(code)) if STATEMENT.match(text)]
        assert text.endswith("$2")


@pytest.mark.parametrize(("module", "function"), FUNCTIONS)
def test_every_query_has_a_contract_test(module: str, function: str) -> None:
    """Each function in metadata/ is called by the suites that run over every engine."""
    tests = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert f"{module}.{function}" in tests

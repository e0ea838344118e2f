"""The source as syntax trees, and the few exceptions that were granted."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "entrepot"
TESTS = ROOT / "tests"
Function = ast.FunctionDef | ast.AsyncFunctionDef
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}
# What branches or repeats. A `with` does neither: it says what holds for the lines below it.
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)


class Granted(NamedTuple):
    """One line of exceptions.toml."""

    check: str
    where: str
    reason: str


class Found(NamedTuple):
    """A function and where it is."""

    where: str
    node: Function

    @property
    def lines(self) -> int:
        """How long it is, decorators left out."""
        return (self.node.end_lineno or 0) - self.node.lineno + 1


@cache
def granted() -> list[Granted]:
    """The exceptions, as they are written."""
    document = tomllib.loads((TESTS / "architecture" / "exceptions.toml").read_text())
    return [Granted(**entry) for entry in document.get("exception", [])]


def without_granted(check: str, offenders: dict[str, object]) -> dict[str, object]:
    """What is left of the offenders of a check when the exceptions are taken away."""
    allowed = {entry.where for entry in granted() if entry.check == check}
    return {where: what for where, what in offenders.items() if where not in allowed}


def relative(path: pathlib.Path) -> str:
    """A path as it is written in messages and exceptions."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: pathlib.Path) -> ast.Module:
    """A file as a syntax tree."""
    return ast.parse(path.read_text())


def python_files(folder: pathlib.Path = PACKAGE) -> list[pathlib.Path]:
    """Every Python file below a folder."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def tracked_files() -> list[pathlib.Path]:
    """Every text file of the project: what git tracks, or would."""
    # A checkout may belong to somebody else than who tests it, as in CI.
    trusting = ["-c", f"safe.directory={ROOT}"]
    listed = subprocess.run(
        ["git", *trusting, "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in sorted(set(listed)) if (ROOT / name).is_file()]


def functions(path: pathlib.Path) -> Iterator[Found]:
    """Every function of a file, methods and inner ones included."""
    yield from _functions(tree_of(path), relative(path) + ":")


def _functions(node: ast.AST, prefix: str) -> Iterator[Found]:
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{prefix}{child.name}."
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Found(prefix + child.name, child)
        yield from _functions(child, inner)


def depth(node: ast.AST) -> int:
    """How deeply blocks are nested inside a function; `elif` is no deeper than its `if`, inner functions start anew."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def readers_of_the_environment() -> dict[str, object]:
    """Files, other than the settings and the command line, that look at the environment, and where they do."""
    found: dict[str, object] = {}
    for path in python_files():
        if path == PACKAGE / "settings.py" or path.is_relative_to(PACKAGE / "cli"):
            continue
        names = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)]
        lines = [node.lineno for node in names if node.attr in ENVIRONMENT]
        found |= {relative(path): lines} if lines else {}
    return found


def parameters(node: Function) -> int:
    """How many parameters a caller thinks about: all but `self`, `cls` and catch-alls."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in arguments)


def percentile_90(values: list[int]) -> int:
    """The value that nine of ten do not exceed."""
    return sorted(values)[int(len(values) * 0.9)] if values else 0

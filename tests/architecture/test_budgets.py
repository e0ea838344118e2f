"""The tail tells: the longest, deepest and widest of everything stay within the budgets of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from tests.architecture.source import (
    PACKAGE,
    TESTS,
    Found,
    depth,
    functions,
    granted,
    parameters,
    percentile_90,
    python_files,
    readers_of_the_environment,
    relative,
    tracked_files,
    tree_of,
    without_granted,
)

MOST_EXCEPTIONS = 10
CHECKS = {"function-lines", "depth", "parameters", "file-lines", "protocol-members", "handler", "environment"}
HTTP_DECORATORS = {"get", "post", "put", "patch", "delete", "head", "route"}
FACES = [PACKAGE / "formats", PACKAGE / "api", PACKAGE / "web"]


def every_function() -> list[Found]:
    """All functions of the package."""
    return [found for path in python_files() for found in functions(path)]


def offenders_by_check() -> dict[str, dict[str, object]]:
    """What breaks each budget, exceptions not yet taken away."""
    found = every_function()
    return {
        "function-lines": {each.where: each.lines for each in found if each.lines > 60},
        "depth": {each.where: depth(each.node) for each in found if depth(each.node) > 3},
        "parameters": {each.where: parameters(each.node) for each in found if parameters(each.node) > 5},
        "file-lines": {relative(path): count for path, count in file_lines(PACKAGE).items() if count > 600},
        "protocol-members": {where: count for where, count in protocols().items() if count > 6},
        "environment": readers_of_the_environment(),
        "handler": {
            each.where: (each.lines, depth(each.node)) for each in handlers() if each.lines > 25 or depth(each.node) > 1
        },
    }


def file_lines(folder: pathlib.Path) -> dict[pathlib.Path, int]:
    """How long the files below a folder are."""
    return {path: len(path.read_text().splitlines()) for path in python_files(folder)}


def protocols() -> dict[str, int]:
    """How many members each Protocol asks an adapter for."""
    return {
        f"{relative(path)}:{node.name}": sum(
            isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body
        )
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    }


def handlers() -> list[Found]:
    """Functions that answer requests: those that route tables name, and those that HTTP decorators mark."""
    named = {name for face in FACES for path in python_files(face) for name in names_in_tables(tree_of(path))}
    return [
        found
        for face in FACES
        for path in python_files(face)
        for found in functions(path)
        if f"{path.stem}.{found.node.name}" in named or any(map(is_http, found.node.decorator_list))
    ]


def names_in_tables(tree: ast.Module) -> list[str]:
    """`module.function` of each handler in a table of Endpoints."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.unparse(argument)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Endpoint"
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(argument, ast.Attribute)
    ]


def is_http(decorator: ast.expr) -> bool:
    """Whether a decorator is one of Litestar's."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in HTTP_DECORATORS


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_nothing_exceeds_its_budget(check: str) -> None:
    """No function, file, Protocol or handler is over its limit, exceptions aside."""
    assert without_granted(check, offenders_by_check()[check]) == {}


def test_functions_are_short_on_the_whole() -> None:
    """Nine of ten functions have at most 30 lines."""
    assert percentile_90([found.lines for found in every_function()]) <= 30


def test_files_are_short_on_the_whole() -> None:
    """Nine of ten files have at most 400 lines."""
    assert percentile_90(list(file_lines(PACKAGE).values())) <= 400


def test_tests_are_short() -> None:
    """Nine of ten functions of tests have at most 35 lines, and no file of tests more than 600."""
    lengths = [found.lines for path in python_files(TESTS) for found in functions(path)]
    assert percentile_90(lengths) <= 35
    assert {path: count for path, count in file_lines(TESTS).items() if count > 600} == {}


def test_handlers_are_found() -> None:
    """The handlers that are measured include the ones of a manifest push: the budget is not of nothing."""
    assert "src/entrepot/formats/oci/manifests.py:push" in {found.where for found in handlers()}


def test_exceptions_are_few_and_needed() -> None:
    """There are at most ten, each with a check that exists and a reason, and none that nothing needs any more."""
    offenders = offenders_by_check()
    assert len(granted()) + len(uncovered()) <= MOST_EXCEPTIONS
    for entry in granted():
        assert entry.check in CHECKS, entry
        assert len(entry.reason.split()) > 3, entry
        assert entry.where in offenders[entry.check], f"no longer needed: {entry}"


def uncovered() -> list[str]:
    """Lines that coverage is told to leave out, which count as exceptions."""
    pragma = re.compile(r"#\s*pragma:\s*no (?:cover|branch)")
    return [
        f"{relative(path)}:{number}"
        for path in tracked_files()
        if path.suffix == ".py" and path.is_relative_to(PACKAGE)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pragma.search(line)
    ]


def test_depth_is_measured() -> None:
    """A planted function of four nested blocks is seen as such, and `elif` is not counted as nesting."""
    nested = "def f():\n for a in b:\n  while a:\n   try:\n    if a: pass\n    elif b: pass\n   finally: pass\n"
    assert depth(ast.parse(nested).body[0]) == 4

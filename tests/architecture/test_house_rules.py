"""Mistakes made once, here or elsewhere, as rules over the syntax trees."""

from __future__ import annotations

import ast
import builtins
import pathlib
import re
from collections.abc import Iterator

from entrepot import formats
from entrepot.domain import errors
from tests.architecture.source import (
    PACKAGE,
    ROOT,
    TESTS,
    Function,
    functions,
    python_files,
    readers_of_the_environment,
    relative,
    tracked_files,
    tree_of,
    without_granted,
)

PURE = ["wire/ranges.py", "wire/conditional.py", "wire/paging.py", "wire/addresses.py", "wire/errors.py"]
PARSING = {"ValueError", "UnicodeDecodeError", "DecodeError", "ValidationError", "Unsatisfiable"}
# Packages are named, never the machines they come from; files are found, never assumed at somebody's home.
PLACES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org|snapshot[.]debian|crates[.]io"
    r"|proxy[.]golang|rubygems[.]org|repo1?[.]maven|(?<![\w.~}$])/(?:work|home|Users|tmp/[a-z]+)/[a-z]"
)
LEFT_OVER = re.compile(r"\b(?:TO[D]O|FIX[M]E|X{3}|HA[C]K)\b")


def nodes(folder: pathlib.Path = PACKAGE) -> Iterator[tuple[pathlib.Path, ast.AST]]:
    """Every node of every file below a folder."""
    for path in python_files(folder):
        for node in ast.walk(tree_of(path)):
            yield path, node


def at(path: pathlib.Path, node: ast.AST) -> str:
    """Where a node is, for messages."""
    return f"{relative(path)}:{getattr(node, 'lineno', 0)}"


def names_caught(handler: ast.ExceptHandler) -> set[str]:
    """The last part of each name that an `except` lists; empty for a bare one."""
    caught = handler.type
    listed = caught.elts if isinstance(caught, ast.Tuple) else [caught] if caught is not None else []
    return {ast.unparse(name).rpartition(".")[2] for name in listed}


def names_in_signature(node: Function) -> list[tuple[str, str]]:
    """(name, annotation) of each parameter."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [(argument.arg, ast.unparse(argument.annotation) if argument.annotation else "") for argument in arguments]


def test_formats_catch_nothing_but_parsing() -> None:
    """Errors leave a format by its one table: handlers catch only what parsing raises."""
    parsing = PARSING | {
        name for name, kind in vars(errors).items() if is_error(kind) and issubclass(kind, errors.Invalid)
    }
    found = [
        at(path, node)
        for path, node in nodes(PACKAGE / "formats")
        if isinstance(node, ast.ExceptHandler) and path.name != "errors.py" and not names_caught(node) & parsing
    ]
    assert found == []


def test_no_error_is_swallowed() -> None:
    """No bare `except`, and no `except` whose whole body is `pass`: a reason is needed to go on."""
    found = [
        at(path, node)
        for path, node in nodes()
        if isinstance(node, ast.ExceptHandler) and (node.type is None or isinstance(node.body[0], ast.Pass))
    ]
    assert found == []


def test_strings_stop_at_the_edge() -> None:
    """Verbs and ports take a Digest, never a string that is hoped to be one."""
    found = [
        found.where
        for folder in ("core", "ports")
        for path in python_files(PACKAGE / folder)
        for found in functions(path)
        for name, annotation in names_in_signature(found.node)
        if name.rpartition("_")[2] in {"digest", "digests"} and re.search(r"\bstr\b", annotation)
    ]
    assert found == []


def test_environment_is_read_in_one_place() -> None:
    """Only the settings and the command line look at the environment; everything else gets values."""
    assert without_granted("environment", readers_of_the_environment()) == {}


def test_no_globals() -> None:
    """Nothing rebinds a module's name: everything arrives as an argument."""
    assert [at(path, node) for path, node in nodes() if isinstance(node, ast.Global)] == []


def test_edges_are_drawn_once() -> None:
    """One function makes edges out of a manifest; collection, copies and scanning use it."""
    makers = [
        at(path, node) for path, node in nodes() if isinstance(node, ast.Call) and ast.unparse(node.func) == "Edge"
    ]
    assert len(makers) == 1, makers
    assert makers[0].startswith("src/entrepot/domain/manifest.py")


def test_errors_speak_one_language() -> None:
    """No function raises or returns a failure depending on a flag."""
    found = [
        f"{found.where}({name})"
        for path in python_files()
        for found in functions(path)
        for name, _ in names_in_signature(found.node)
        if name.startswith(("raise_on", "raises_", "ignore_error"))
    ]
    assert found == []


def test_nouns_do_not_wait() -> None:
    """The domain, and the wire's arithmetic, contain no `async`."""
    pure = [*python_files(PACKAGE / "domain"), *(PACKAGE / name for name in PURE)]
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [relative(path) for path in pure for node in ast.walk(tree_of(path)) if isinstance(node, waiting)] == []


def test_measuring_happens_at_the_seam() -> None:
    """Only telemetry knows the metrics library."""
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path, node in nodes()
        if isinstance(node, ast.Import | ast.ImportFrom) and "prometheus_client" in ast.unparse(node)
    }
    assert users <= {"telemetry"}


def is_error(kind: object) -> bool:
    """Whether something is a class of the error tree."""
    return isinstance(kind, type) and issubclass(kind, errors.EntrepotError)


def drawn(kind: type[errors.EntrepotError], lead: str = "", branch: str = "") -> list[str]:
    """The tree below a class as its module draws it."""
    lines = [f"{lead}{branch}{kind.__name__}"]
    inner = lead + {"": "", "├── ": "│   ", "└── ": "    "}[branch]
    children = kind.__subclasses__()
    for child in children:
        lines += drawn(child, inner, "└── " if child is children[-1] else "├── ")
    return lines


def test_error_tree_is_drawn_as_it_is() -> None:
    """The drawing in domain/errors.py shows exactly the classes below it, in their order."""
    drawing = (errors.__doc__ or "").partition("\n\n")[2].strip()
    assert "\n".join(drawn(errors.EntrepotError)) == drawing


def test_errors_import_nothing() -> None:
    """The error tree knows nothing but Python, so that everything may know it."""
    imports = [
        node for node in tree_of(PACKAGE / "domain" / "errors.py").body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert {ast.unparse(node) for node in imports} <= {"from __future__ import annotations"}


def test_every_wire_table_has_every_category() -> None:
    """Each format says what every category of error looks like to its clients."""
    for name in formats.discover():
        table = __import__(f"entrepot.formats.{name}.errors", fromlist=["TABLE"]).TABLE
        assert set(errors.EntrepotError.__subclasses__()) - set(table) == set(), name


def test_errors_do_not_shadow_python() -> None:
    """No class of the tree has the name of a built-in exception."""
    assert [name for name, kind in vars(errors).items() if is_error(kind) and hasattr(builtins, name)] == []


def test_ports_have_contracts() -> None:
    """Every Protocol and each of its members says what it promises."""
    silent = [
        f"{relative(path)}:{node.name}.{getattr(part, 'name', '')}"
        for path, node in nodes(PACKAGE / "ports")
        if isinstance(node, ast.ClassDef)
        for part in [node, *(part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))]
        if not ast.get_docstring(part)
    ]
    assert silent == []


def test_no_mocks() -> None:
    """Tests use the real thing or a fake, never a mock that agrees with whatever the code does."""
    found = [
        at(path, node)
        for path, node in nodes(TESTS)
        if isinstance(node, ast.Import | ast.ImportFrom) and re.search(r"\bmock\b", ast.unparse(node))
    ]
    assert found == []


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Lines of the project that match, locked requirements and binary files left out."""
    found = []
    for path in tracked_files():
        if path.name.startswith("requirements") or path == ROOT / "tests" / "architecture" / "test_house_rules.py":
            continue
        text = path.read_bytes().decode("utf-8", "ignore")
        found += [
            f"{relative(path)}:{n}: {line.strip()[:100]}"
            for n, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return found


def test_nothing_is_left_for_later() -> None:
    """No note to do something some day: it is done, or it is an issue."""
    assert lines_with(LEFT_OVER) == []


def test_no_place_of_one_machine() -> None:
    """No package host and no path of somebody's machine stands in the project."""
    assert lines_with(PLACES) == []


def test_locked_requirements_name_no_host() -> None:
    """The locked requirements hold names, versions and hashes only."""
    for path in ROOT.glob("requirements*.txt"):
        assert "://" not in path.read_text(), path.name

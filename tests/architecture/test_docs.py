"""What can be set, called or asked for is written down, and what is written down is there."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import tomllib

import cyclopts
import msgspec
import pytest

from entrepot import formats
from entrepot.cli.main import app
from entrepot.core.jobs import TRADE
from entrepot.settings import Section, Settings, load
from tests.architecture.source import ROOT, TESTS, functions, relative, tracked_files

PAGES = sorted(path for path in tracked_files() if path.suffix == ".md")
ROW = re.compile(r"^\| `([a-z_.]+)` \| `?(.*?)`? \| (.+) \|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
MAKE = re.compile(r"(?m)^\s*(?:sudo )?make ([a-z]+)")
# What a row of a table is about: a word of the registry, or the status of an answer.
SUBJECT = re.compile(r"\| (`[^`]+`|[1-5][0-9][0-9]) \|")
METHODS = {f"`{method}`" for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")}


def settings_in(section: type[Section], prefix: str = "") -> dict[str, object]:
    """Every key of the settings tree with its default."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(section):
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        if isinstance(default, Section):
            found |= settings_in(type(default), f"{prefix}{field.encode_name}.")
        else:
            found[prefix + field.encode_name] = default
    return found


def written(value: object) -> str:
    """A default as the page writes it."""
    return msgspec.json.encode(value).decode()


def test_every_setting_is_documented() -> None:
    """docs/settings.md has one row per key, with its default and a sentence, and no row too many."""
    rows = {key: (default, text) for key, default, text in ROW.findall((ROOT / "docs" / "settings.md").read_text())}
    assert {key: default for key, (default, _) in rows.items()} == {
        key: written(value) for key, value in settings_in(Settings).items()
    }
    assert [key for key, (_, text) in rows.items() if not text.endswith(".")] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_examples_of_settings_load(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Every block of TOML in the pages is a settings file that the server would take."""
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)):
        tomllib.loads(block)
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        load(file, None, None, {})


def commands(parent: cyclopts.App, words: tuple[str, ...] = ()) -> list[str]:
    """Every command that a user can call, as it is typed."""
    found = []
    for name in parent:
        if name.startswith("-") or not parent[name].show:
            continue
        inner = commands(parent[name], (*words, name))
        found += inner or [" ".join(("entrepot", *words, name))]
    return found


def test_every_command_is_documented() -> None:
    """docs/cli.md names every command."""
    page = (ROOT / "docs" / "cli.md").read_text()
    assert [command for command in commands(app) if command not in page] == []


def takes_files(parent: cyclopts.App) -> bool:
    """Whether a command, or one below it, finds its registry among files as well."""
    inner = [parent[name] for name in parent if not name.startswith("-")]
    if inner:
        return any(takes_files(each) for each in inner)
    called = parent.default_command
    return called is not None and "Anywhere" in str(inspect.signature(called).parameters.get("where"))


def test_commands_that_work_on_files_are_told() -> None:
    """docs/cli.md names each command that works on files as well, once."""
    page = (ROOT / "docs" / "cli.md").read_text()
    sentence = page.partition("## Where a command works\n")[2].partition(" find their registry")[0]
    told = re.findall(r"`([a-z-]+)`", sentence)
    assert sorted(told) == sorted(name for name in app if not name.startswith("-") and takes_files(app[name]))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_no_row_stands_twice(page: pathlib.Path) -> None:
    """Within a table nothing is told twice, where one of the two would soon be out of date."""
    told: list[str] = []
    for line in page.read_text().splitlines():
        told = told if line.startswith("|") else []
        subject = SUBJECT.match(line)
        if subject is not None and subject[1] not in METHODS:
            assert subject[1] not in told, line
            told.append(subject[1])


def test_every_job_is_documented() -> None:
    """docs/jobs.md has a row for each kind of job, with the time after which it comes back."""
    page = (ROOT / "docs" / "jobs.md").read_text()
    rows = re.findall(r"^\| (`[a-z]+[.].*?) \|(.*?)\| .+ \|$", page, re.MULTILINE)
    told = {kind: after.strip() != "" for kinds, after in rows for kind in re.findall(r"`([a-z.-]+)`", kinds)}
    assert told == {kind: kind in TRADE.recurring for kind in (*TRADE.handlers, *TRADE.together)}


def test_every_metric_is_documented() -> None:
    """docs/running.md has a row that names each metric."""
    named = re.findall(r"^\| (`entrepot_.*?) \|", (ROOT / "docs" / "running.md").read_text(), re.MULTILINE)
    told = [name.removesuffix("_total") for names in named for name in re.findall(r"`(\w+)`", names)]
    source = "".join(path.read_text() for path in (ROOT / "src" / "entrepot" / "telemetry").glob("*.py"))
    assert sorted(told) == sorted(set(re.findall(r'"(entrepot_\w+)"', source)))


def test_every_endpoint_cites_its_specification() -> None:
    """The docstring of a handler names each id that its row of the table has."""
    silent = []
    for grammar in formats.discover().values():
        for endpoint in grammar.endpoints:
            wanted = [word for word in endpoint.spec.split(", ") if word.startswith("end-")]
            said = endpoint.handler.__doc__ or ""
            # An id stands for itself, not for a longer one that begins like it.
            silent += [(endpoint.path, word) for word in wanted if not re.search(rf"{word}(?![0-9a-z])", said)]
    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    """Every relative link of a page is to a file of the project."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [target for target, _ in LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_target_has_help() -> None:
    """`make help` lists every target that a person calls, and pages name no target that is not there."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    targets = {line.partition(":")[0] for line in lines if re.match(r"[a-z]+:", line)}
    assert {line.partition(":")[0] for line in lines if re.match(r"[a-z]+:.*## \w", line)} == targets
    named = {target for page in PAGES for target in MAKE.findall(page.read_text())}
    assert named - targets == set()


def test_examples_are_told() -> None:
    """Every story of examples/ is named in a page."""
    pages = "".join(page.read_text() for page in PAGES)
    assert [path.name for path in (ROOT / "examples").glob("*.sh") if path.stem not in pages] == []


def test_every_test_says_what_it_proves() -> None:
    """Each test has a docstring, and it is a sentence, not a word."""
    terse = [
        found.where
        for path in TESTS.rglob("test_*.py")
        for found in functions(path)
        if found.node.name.startswith("test_") and len((ast.get_docstring(found.node) or "").split()) < 3
    ]
    assert terse == []

"""Siblings look alike, so that who knows one knows where to look in the next."""

from __future__ import annotations

from entrepot import formats
from tests.architecture.source import PACKAGE, ROOT

FORMAT_FILES = ["routes.py", "errors.py", "README.md", "install.html"]
LAYERS = [
    "domain",
    "ports",
    "metadata",
    "core",
    "wire",
    "formats",
    "api",
    "web",
    "cli",
    "server",
    "storage",
    "db",
    "authn",
    "notify",
    "sources",
    "telemetry",
]


def format_names() -> list[str]:
    """The formats, found as the application finds them."""
    return sorted(formats.discover())


def test_each_format_has_the_same_files() -> None:
    """A format is one folder with a route table, an error table, a README and the page that tells how to use it."""
    missing = [
        f"formats/{name}/{file}"
        for name in format_names()
        for file in FORMAT_FILES
        if not (PACKAGE / "formats" / name / file).is_file()
    ]
    assert missing == []


def test_every_folder_is_discovered() -> None:
    """No format lies there without being mounted."""
    folders = {path.parent.name for path in (PACKAGE / "formats").glob("*/__init__.py")}
    assert folders == set(format_names())


def test_every_layer_says_what_it_is() -> None:
    """The first line of each layer is a sentence about its kind of word."""
    silent = [layer for layer in LAYERS if not (PACKAGE / layer / "__init__.py").read_text().startswith('"""')]
    assert silent == []


def test_decisions_are_numbered_in_a_row() -> None:
    """Decision pages are named NNNN-title.md without a gap, and each says what follows from it in the code."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        headings = [line for line in page.read_text().splitlines() if line.startswith("#")]
        assert headings[0].startswith(f"# {page.name[:4]} "), page.name
        assert "## Consequences in the code" in headings, page.name

"""The tree of errors, and JSON out of the domain's types."""

from __future__ import annotations

import inspect

from entrepot.domain import errors
from entrepot.domain.digests import digest_of
from entrepot.domain.errors import EntrepotError
from entrepot.domain.json import render_json


def draw(error: type[EntrepotError], indent: str = "") -> list[str]:
    """The classes below one, in the order of their definition, as a tree."""
    children: list[type[EntrepotError]] = [
        child
        for child in vars(errors).values()
        if inspect.isclass(child) and issubclass(child, EntrepotError) and error in child.__bases__
    ]
    lines = []
    for child in children:
        is_last = child is children[-1]
        lines.append(f"{indent}{'└── ' if is_last else '├── '}{child.__name__}")
        lines += draw(child, indent + ("    " if is_last else "│   "))
    return lines


def test_the_drawing_is_the_tree() -> None:
    """The module's docstring draws exactly the classes that there are, in their order."""
    documentation = inspect.getdoc(errors) or ""
    assert documentation.splitlines()[2:] == ["EntrepotError", *draw(EntrepotError)]


def test_every_error_says_what_it_is() -> None:
    """Each class has a docstring, and carries a sentence and details."""
    for error in vars(errors).values():
        if inspect.isclass(error) and issubclass(error, EntrepotError):
            assert error.__doc__
            raised = error("what was wrong", name="a")
            assert (str(raised), raised.message, raised.detail) == ("what was wrong", "what was wrong", {"name": "a"})


def test_json_of_the_domains_own_strings() -> None:
    """Digests and names are strings of their own kind, and compact JSON."""
    digest = digest_of(b"")
    assert render_json({"digest": digest, "all": [digest]}) == f'{{"digest":"{digest}","all":["{digest}"]}}'.encode()

"""The route table equals its golden list, and names every endpoint of the specification."""

from __future__ import annotations

import inspect
import pathlib
import re

from entrepot.formats import discover
from entrepot.formats.oci.routes import ENDPOINTS, GRAMMAR

GOLDEN = pathlib.Path(__file__).parent / "golden" / "routes.txt"
# distribution-spec, "Endpoints".
SPECIFIED = [1, 2, 3, "4a", "4b", "4c", 5, 6, "7a", "7b", "8a", "8b", 9, 10, 11, "12a", "12b", 13, 14]


def test_the_routes_are_the_golden_ones() -> None:
    """Method, path, action, scope of the challenge and id: a change shows up as a change of the list."""
    lines = [
        f"{row.method:7} {row.path:40} {row.needs.value:10} {row.challenge or '-':17} {row.spec}" for row in ENDPOINTS
    ]
    assert lines == GOLDEN.read_text().splitlines()


def test_every_endpoint_of_the_specification_is_there() -> None:
    """By its id."""
    ids = {identifier for row in ENDPOINTS for identifier in re.findall(r"end-(\w+)", row.spec)}
    assert ids == {str(number) for number in SPECIFIED}


def test_every_handler_names_its_endpoint() -> None:
    """The docstring of a handler starts with the request that it answers."""
    for row in ENDPOINTS:
        assert re.match(r"`(GET|HEAD|POST|PUT|PATCH|DELETE) ", inspect.getdoc(row.handler) or ""), row


def test_the_face_is_discovered() -> None:
    """The folder is mounted because it is there."""
    assert discover()["oci"] is GRAMMAR

"""Pages out of templates. Every value is escaped, and no page runs a script or loads anything from elsewhere."""

from __future__ import annotations

import pathlib
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from entrepot.wire.messages import Headers, Response, document, empty

FOLDER: Final = pathlib.Path(__file__).parent
HTML: Final = "text/html; charset=utf-8"
# `form-action` would also forbid that a form's answer leads to a provider; no form's answer does.
POLICY: Final = (
    b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Headers] = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
NO_STORE: Final = ("cache-control", "no-store")
TEMPLATES: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
STYLE: Final = (FOLDER / "static" / "style.css").read_bytes()


def render(status: int, template: str, **values: Any) -> Response:
    """A page. No cache keeps it: pages say who somebody is."""
    body = TEMPLATES.get_template(template).render(values).encode()
    return document(status, HTML, body, NO_STORE)


def go(path: str) -> Response:
    """To another page, by GET whatever came."""
    return empty(303, ("location", path), NO_STORE)

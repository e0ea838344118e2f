"""From a domain error to a page, or for programs to the JSON of OAuth."""

from __future__ import annotations

from typing import Final

from entrepot.domain.errors import (
    Conflict,
    Denied,
    EntrepotError,
    Invalid,
    TooLarge,
    TooMany,
    TooSlow,
    Unauthenticated,
    Unavailable,
    Unknown,
    Unmet,
    Unsupported,
)
from entrepot.domain.json import render_json
from entrepot.web.pages import render
from entrepot.wire.errors import Entry, find_entry
from entrepot.wire.messages import Response, document

RETRY_SECONDS: Final = 60
TABLE: Final[dict[type[EntrepotError], Entry]] = {
    Invalid: Entry("invalid_request", 400),
    Unknown: Entry("not_found", 404),
    Unmet: Entry("invalid_request", 400),
    Conflict: Entry("access_denied", 409),
    TooLarge: Entry("invalid_request", 413),
    TooSlow: Entry("invalid_request", 408),
    TooMany: Entry("temporarily_unavailable", 429),
    Unsupported: Entry("invalid_request", 405),
    Unauthenticated: Entry("access_denied", 403),
    Denied: Entry("access_denied", 403),
    Unavailable: Entry("temporarily_unavailable", 503),
}


def render_error(error: EntrepotError, *, is_program: bool) -> Response:
    """What went wrong, as a page for people or as JSON (RFC 6749, section 5.2)."""
    entry = find_entry(TABLE, error)
    if is_program:
        body = render_json({"error": entry.code, "error_description": error.message})
        response = document(entry.status, "application/json", body)
    else:
        response = render(entry.status, "message.html", title="This did not work", text=error.message)
    if isinstance(error, TooMany):
        response.headers.append((b"retry-after", str(error.detail.get("retry_after", RETRY_SECONDS)).encode()))
    if isinstance(allowed := error.detail.get("allowed"), list):
        response.headers.append((b"allow", ", ".join(allowed).encode()))
    return response

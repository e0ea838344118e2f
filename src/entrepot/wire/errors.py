"""From a domain error to a status: one table per face, found by class ancestry."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from entrepot.domain.errors import (
    EntrepotError,
    InsufficientScope,
    OutOfOrder,
    StorageFull,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from entrepot.wire.addresses import Addresses
from entrepot.wire.messages import Request
from entrepot.wire.ranges import render_received


class Entry(msgspec.Struct, frozen=True):
    """How a face shows one kind of error."""

    code: str
    status: int


Table = Mapping[type[EntrepotError], Entry]
RETRY_SECONDS = 1
AWAY_SECONDS = 5
DENIAL = "entrepot-denial"


def find_entry(table: Table, error: EntrepotError) -> Entry:
    """The entry of the nearest ancestor that the table has."""
    return next(table[ancestor] for ancestor in type(error).__mro__ if ancestor in table)


def render_challenge(base: str, scope: str, reason: str) -> str:
    """The WWW-Authenticate header (RFC 6750, section 3, and Docker's token specification)."""
    service = base.partition("://")[2]
    parts = [f'Bearer realm="{base}/token"', f'service="{service}"']
    if scope:
        parts.append(f'scope="{scope}"')
    if reason:
        parts.append(f'error="{reason}"')
    return ",".join(parts)


def headers_for(error: EntrepotError, addresses: Addresses, request: Request, scope: str) -> list[tuple[str, str]]:
    """The headers that belong to an error whatever the face: challenge, Retry-After, Range, Allow, the refusal's id."""
    denial = [(DENIAL, error.denial)] if error.denial else []
    return denial + _headers_of(error, addresses, request, scope)


def _headers_of(error: EntrepotError, addresses: Addresses, request: Request, scope: str) -> list[tuple[str, str]]:
    if isinstance(error, Unauthenticated):
        return [("www-authenticate", render_challenge(addresses.base(request), scope, _reason(request, error)))]
    if isinstance(error, TooMany):
        return [("retry-after", str(error.detail.get("retry_after", RETRY_SECONDS)))]
    if isinstance(error, Unavailable) and not isinstance(error, StorageFull):
        return [("retry-after", str(AWAY_SECONDS))]
    if isinstance(error, OutOfOrder):
        expected = error.detail.get("expected", 0)
        location = f"{addresses.base(request)}{request.path}"
        return [("range", render_received(expected if isinstance(expected, int) else 0)), ("location", location)]
    allowed = error.detail.get("allowed")
    return [("allow", ", ".join(allowed))] if isinstance(allowed, list) else []


def _reason(request: Request, error: EntrepotError) -> str:
    if isinstance(error, InsufficientScope):
        return "insufficient_scope"
    return "" if request.header(b"authorization") is None else "invalid_token"

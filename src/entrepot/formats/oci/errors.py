"""The one door for errors: the specification's JSON (distribution-spec, "Error Codes")."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.domain import errors as domain
from entrepot.domain.json import render_json
from entrepot.wire.context import Context
from entrepot.wire.errors import Entry, Table, find_entry, headers_for
from entrepot.wire.messages import Request, Response, document

TABLE: Final[Table] = {
    domain.EntrepotError: Entry("UNKNOWN", 500),
    domain.Invalid: Entry("UNSUPPORTED", 400),
    domain.NameInvalid: Entry("NAME_INVALID", 400),
    domain.TagInvalid: Entry("MANIFEST_INVALID", 400),
    domain.DigestInvalid: Entry("DIGEST_INVALID", 400),
    domain.SizeInvalid: Entry("SIZE_INVALID", 400),
    domain.ManifestInvalid: Entry("MANIFEST_INVALID", 400),
    domain.UploadInvalid: Entry("BLOB_UPLOAD_INVALID", 400),
    domain.Unknown: Entry("NAME_UNKNOWN", 404),
    domain.EndpointUnknown: Entry("UNSUPPORTED", 404),
    domain.NameUnknown: Entry("NAME_UNKNOWN", 404),
    domain.ManifestUnknown: Entry("MANIFEST_UNKNOWN", 404),
    domain.BlobUnknown: Entry("BLOB_UNKNOWN", 404),
    domain.UploadUnknown: Entry("BLOB_UPLOAD_UNKNOWN", 404),
    domain.Unmet: Entry("MANIFEST_BLOB_UNKNOWN", 400),
    domain.Conflict: Entry("DENIED", 409),
    domain.PreconditionFailed: Entry("DENIED", 412),
    domain.OutOfOrder: Entry("BLOB_UPLOAD_INVALID", 416),
    domain.TooLarge: Entry("SIZE_INVALID", 413),
    domain.TooSlow: Entry("SIZE_INVALID", 408),
    domain.TooMany: Entry("TOOMANYREQUESTS", 429),
    domain.Unsupported: Entry("UNSUPPORTED", 405),
    domain.Unauthenticated: Entry("UNAUTHORIZED", 401),
    domain.Denied: Entry("DENIED", 403),
    domain.Unavailable: Entry("UNAVAILABLE", 503),
    domain.StorageFull: Entry("STORAGE_FULL", 507),
}


class Problem(msgspec.Struct, omit_defaults=True):
    """One entry of the list `errors`."""

    code: str
    message: str
    detail: dict[str, object] = {}


class Problems(msgspec.Struct):
    """The body of every error."""

    errors: list[Problem]


def render(context: Context, request: Request, error: domain.EntrepotError, scope: str) -> Response:
    """An error as the specification's JSON with its status, and the headers that belong to it."""
    entry = find_entry(TABLE, error)
    body = render_json(Problems([Problem(entry.code, error.message, dict(error.detail))]))
    pairs = headers_for(error, context.addresses, request, scope)
    if request.path == "/token":
        pairs = [
            ("www-authenticate", 'Basic realm="entrepot"') if name == "www-authenticate" else (name, value)
            for name, value in pairs
        ]
    return document(entry.status, "application/json", body, *pairs, ("docker-distribution-api-version", "registry/2.0"))

"""JSON out of the domain's types: digests, names and tags are strings of their own kind."""

from __future__ import annotations

import msgspec

_encoder = msgspec.json.Encoder(enc_hook=str)


def render_json(document: object) -> bytes:
    """A document as compact JSON."""
    return _encoder.encode(document)

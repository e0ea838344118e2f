"""Google Cloud Storage: never tried against Google itself, see docs/object-stores.md.

gs://BUCKET/PREFIX

Credentials come as Google's own tools take them: GOOGLE_APPLICATION_CREDENTIALS, or the service account of the machine.
"""

from __future__ import annotations

from typing import Final

from obstore.store import GCSStore

from entrepot.storage._objects import RETRY, ObjectStore, client_for, open_objects, parse_place

KNOWN: Final[frozenset[str]] = frozenset()
FORM: Final = "gs://BUCKET/PREFIX"


def open_store(url: str) -> ObjectStore:
    """Open a bucket. Raises Unavailable."""
    place = parse_place(url, KNOWN, FORM)

    def at(endpoint: str) -> GCSStore:
        return GCSStore(place.name, prefix=place.prefix, client_options=client_for(endpoint), retry_config=RETRY)

    return open_objects(at, place.options)

"""Google Cloud Storage: never tried against Google itself, see docs/object-stores.md.

gs://BUCKET/PREFIX?public_endpoint=https://HOST:PORT    the same buckets as clients reach them, for redirects

Credentials come as Google's own tools take them: GOOGLE_APPLICATION_CREDENTIALS, or the service account of the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obstore.store import GCSStore

from entrepot.storage._objects import RETRY, ObjectStore, client_for, open_objects, parse_place

if TYPE_CHECKING:
    from obstore.store import GCSConfig

KNOWN: Final = frozenset({"public_endpoint"})
FORM: Final = "gs://BUCKET/PREFIX, perhaps with ?public_endpoint=URL"


def open_store(url: str) -> ObjectStore:
    """Open a bucket. Raises Unavailable."""
    place = parse_place(url, KNOWN, FORM)

    def at(endpoint: str) -> GCSStore:
        config: GCSConfig = {"base_url": endpoint} if endpoint else {}
        return GCSStore(
            place.name,
            prefix=place.prefix,
            config=config,
            client_options=client_for(endpoint),
            retry_config=RETRY,
        )

    return open_objects(at, place.options)

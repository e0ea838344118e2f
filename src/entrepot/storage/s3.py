"""AWS S3, or whatever speaks its protocol.

s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION     `endpoint` for anything but AWS itself
                  &public_endpoint=https://HOST:PORT            the same bucket as clients reach it, for redirects

Credentials come as AWS's own tools take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity token, or the
role of the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obstore.store import S3Store

from entrepot.storage._objects import RETRY, ObjectStore, client_for, open_objects, parse_place

if TYPE_CHECKING:
    from obstore.store import S3Config

KNOWN: Final = frozenset({"endpoint", "region", "public_endpoint"})
FORM: Final = "s3://BUCKET/PREFIX, perhaps with ?endpoint=URL&region=NAME&public_endpoint=URL"


def open_store(url: str) -> ObjectStore:
    """Open a bucket. Raises Unavailable."""
    place = parse_place(url, KNOWN, FORM)

    def at(endpoint: str) -> S3Store:
        config: S3Config = {"region": place.options.get("region", "us-east-1")}
        if endpoint:
            config["endpoint"] = endpoint
        return S3Store(
            place.name,
            prefix=place.prefix,
            config=config,
            client_options=client_for(endpoint),
            retry_config=RETRY,
        )

    return open_objects(at, place.options)

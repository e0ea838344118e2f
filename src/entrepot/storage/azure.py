"""Azure Blob Storage.

azure://CONTAINER/PREFIX?account=NAME     with &endpoint=URL for anything but Azure itself,
                                          and &public_endpoint=URL for the same as clients reach it

Credentials come as Azure's own tools take them: AZURE_STORAGE_ACCOUNT_KEY, a workload identity, or the identity of the
machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obstore.store import AzureStore

from entrepot.storage._objects import RETRY, ObjectStore, client_for, open_objects, parse_place

if TYPE_CHECKING:
    from obstore.store import AzureConfig

KNOWN: Final = frozenset({"account", "endpoint", "public_endpoint"})
FORM: Final = "azure://CONTAINER/PREFIX?account=NAME, perhaps with &endpoint=URL&public_endpoint=URL"


def open_store(url: str) -> ObjectStore:
    """Open a container. Raises Unavailable."""
    place = parse_place(url, KNOWN, FORM)

    def at(endpoint: str) -> AzureStore:
        config: AzureConfig = {}
        if account := place.options.get("account"):
            config["account_name"] = account
        if endpoint:
            config["endpoint"] = endpoint
        return AzureStore(
            place.name,
            prefix=place.prefix,
            config=config,
            client_options=client_for(endpoint),
            retry_config=RETRY,
        )

    return open_objects(at, place.options)

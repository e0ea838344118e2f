"""Walking over whole tables by short reads, none of which holds a snapshot open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

from entrepot.core.registry import Registry
from entrepot.ports.database import Tx

PAGE: Final = 500
K = TypeVar("K")
R = TypeVar("R")
Query = Callable[[Tx, K, int], Coroutine[Any, Any, list[R]]]


async def pages(registry: Registry, query: Query[K, R], start: K, key: Callable[[R], K]) -> AsyncIterator[list[R]]:
    """Pages of what `query(tx, after, limit)` lists; `key` says after what the next one begins."""
    after = start

    async def look(tx: Tx) -> list[R]:
        return await query(tx, after, PAGE)

    while page := await registry.database.read(look):
        yield page
        after = key(page[-1])

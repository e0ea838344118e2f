"""The port for the metadata database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Tx(Protocol):
    """What work inside a transaction (or a read) may await. Placeholders are `$1`, `$2`, ...

    Times are bigint microseconds since 1970, JSON is text, digests and names are text.
    """

    async def one(self, sql: str, *arguments: object) -> Row | None:
        """The first row, or None."""

    async def all(self, sql: str, *arguments: object) -> list[Row]:
        """Every row; the statement bounds their number."""

    async def execute(self, sql: str, *arguments: object) -> int:
        """Run a statement that changes rows; the number of rows it touched."""


Work = Callable[[Tx], Coroutine[Any, Any, T]]


class Database(Protocol):
    """Where names live.

    Contract: `transact(work)` runs `work` atomically and returns once its effects are durable (they
    survive loss of power) and visible to every later read in every process. `work` awaits nothing but
    the `Tx` it is given, and touches nothing outside it, because it may run again. An exception out of
    `work` undoes its effects and reaches the caller unchanged; other works are not disturbed.
    With `durable=False` the effects survive the death of this process, and loss of power only once a later
    durable transaction has returned: for progress that a client is told it may have to repeat.
    With `isolated=False` each statement may see a newer state than the one before, and nothing is refused for what was
    read: for work that only adds rows, or first writes to the one row that all whose work it must not cross write to,
    and then waits for them.
    `read(work)` sees committed rows only and must not change any. A row may be seen a moment before it is durable; a
    durable transaction of whoever saw it makes it so, and must come before it is told to another machine.
    Raises AlreadyExists where a unique rule is broken, StorageFull when there is no room, Unavailable when
    the database cannot be reached.
    """

    def read(self, work: Work[T]) -> Awaitable[T]:
        """Run `work` over committed rows; each statement may see a newer state than the one before."""

    def transact(self, work: Work[T], *, durable: bool = True, isolated: bool = True) -> Awaitable[T]:
        """Run `work` as one transaction, serialisable unless it does without."""

    async def close(self) -> None:
        """Finish what was accepted and let go of the files or connections. Idempotent."""

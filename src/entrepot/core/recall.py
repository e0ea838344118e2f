"""What this process remembers of pulls, so that warm ones hardly ask the database and go on while it is away.

Only where the database is over a network; SQLite answers faster than this. What must hold (decision 0027):

- By digest, what is remembered is served while the events were looked at within half a second: whoever deletes waits
  that long before saying so, and so nobody is served what a confirmed deletion took away.
- Tags move, and are asked for each time. What is remembered of them serves only while the database is away.
- While it is away, all that is remembered is served for a bounded time after the last look, and said to be stale.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from entrepot.domain.digests import Digest
from entrepot.domain.errors import Unavailable
from entrepot.domain.names import Reference, RepositoryName, Tag
from entrepot.metadata import blobs, events
from entrepot.metadata.blobs import StoredBlob
from entrepot.metadata.events import SeenEvent
from entrepot.metadata.manifests import StoredManifest
from entrepot.ports.database import Database

LOOK_SECONDS: Final = 0.25
LEASE_SECONDS: Final = 0.5
# Bytes that have been let go lie where they were for `Rules.discard_seconds`, and nothing tells of each.
MOST_SURE_SECONDS: Final = 30.0
BATCH: Final = 500
MOST_RENEWED: Final = 200
MOST_FORGOTTEN: Final = 10_000
# About what an entry costs beside its content (measured), in bytes.
ENTRY_BYTES: Final = 700
MANIFEST, BLOB, TAG = "manifest", "blob", "tag"
# Events about content after which everything that was remembered still holds.
HARMLESS: Final = frozenset({"manifest.pushed", "repository.created", "repository.changed"})
ABOUT_CONTENT: Final = ("manifest.", "blob.", "tag.", "repository.")

_Key = tuple[str, str, str]


class _Held(msgspec.Struct):
    """Something remembered, what it costs in bytes, and when it was read."""

    value: Any
    cost: int
    read_at: float


class _Detail(msgspec.Struct):
    """What events say that they are about beside a repository, and where a tag is now."""

    digest: str = ""
    tag: str = ""
    to: str | None = None


_read_detail = msgspec.json.Decoder(_Detail).decode


class Recall:
    """Remembers manifests, blobs and tags of repositories up to `most_bytes`, the least recently used going first.

    `most_away_seconds` is how long after the last look it may be served while the database is away, 0 for not at all.
    `discard_seconds` is how long bytes stay that have been let go. `now` answers seconds that only ever grow.
    """

    def __init__(
        self,
        database: Database,
        most_bytes: int,
        most_away_seconds: float,
        discard_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._most_bytes = most_bytes
        self.most_away_seconds = most_away_seconds
        # Half of it is left to whoever began to read just then.
        self._sure_seconds = min(MOST_SURE_SECONDS, discard_seconds / 2)
        self._now = now
        self._held: OrderedDict[_Key, _Held] = OrderedDict()
        self._blobs: dict[str, set[str]] = {}
        self._bytes = 0
        self._last: SeenEvent | None = None
        self._looked_at = float("-inf")
        self._flights: dict[str, asyncio.Future[None]] = {}
        # Whoever reads takes this first, and remembers nothing that has been forgotten since: what was when, and
        # before what nothing is remembered at all.
        self.stamp = 0
        self._forgotten: dict[_Key, int] = {}
        self._floor = 0
        self._looking: asyncio.Future[None] | None = None
        self.is_away = False
        self.counts = {"remembered": 0, "stale": 0}

    @property
    def is_current(self) -> bool:
        """Whether nothing that was taken away can still be among what is remembered."""
        return self._now() - self._looked_at <= LEASE_SECONDS

    @property
    def is_lasting(self) -> bool:
        """Whether what is remembered may still be served although the database is away."""
        return self.most_away_seconds > 0 and self._now() - self._looked_at <= self.most_away_seconds

    async def is_gone(self) -> bool:
        """Whether the database is away, for whoever has just asked it in vain: a statement may fail by itself."""
        if not self.is_away:
            await asyncio.wait([self._look_together()])
        return self.is_away

    async def look(self) -> None:
        """Forget what events have changed since the last time. Raises Unavailable; the database `is_away` then."""
        await asyncio.shield(self._look_together())

    def _look_together(self) -> asyncio.Future[None]:
        """A look, the same one for all who come while it lasts."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_once())
            # Whoever waited for it may have gone.
            self._looking.add_done_callback(lambda looked: looked.cancelled() or looked.exception())
        return self._looking

    async def _look_once(self) -> None:
        began = self._now()
        try:
            await self._look()
        except Unavailable:
            self.is_away = True
            raise
        self._looked_at, self.is_away = began, False

    async def _look(self) -> None:
        last = self._last or await self._begin()
        while (seen := await self._read(last)) is not None:
            if len(seen) < BATCH:
                return
            if not seen[-1].is_settled:
                # So much is held up by somebody's long transaction that it cannot be read again each time.
                self._clear()
                return
            last = seen[-1]
        # A stand-by that lacks the last moments has taken over, or a backup was restored.
        await self._begin()

    async def _begin(self) -> SeenEvent:
        """Follow from now on. What has happened before is not looked at, and so nothing from before is believed."""
        self._last = await self._database.read(events.find_last_seen)
        self._clear()
        return self._last

    async def settle(self) -> None:
        """Wait until no process serves what has just been taken away; all of them know by then, or do not serve."""
        await asyncio.sleep(LEASE_SECONDS)

    def find_manifest(
        self, repository: RepositoryName, reference: Reference, *, with_bytes: bool
    ) -> StoredManifest | None:
        """What is remembered, however old: whoever asks looks at `is_current` or `is_lasting` first."""
        if isinstance(reference, Tag):
            held = self._find((repository, TAG, reference))
            if held is None:
                return None
            reference = held.value
        held = self._find((repository, MANIFEST, reference))
        if held is None or (with_bytes and not held.value.raw):
            return None
        found: StoredManifest = held.value
        return found

    def find_blob(self, repository: RepositoryName, digest: Digest) -> StoredBlob | None:
        """The same for a blob."""
        held = self._find((repository, BLOB, digest))
        return None if held is None else held.value

    def is_sure(self, repository: RepositoryName, digest: Digest) -> bool:
        """Whether the bytes of a blob must still lie where it is remembered that they do."""
        held = self._held.get((repository, BLOB, digest))
        return held is not None and self._now() - held.read_at <= self._sure_seconds

    def keep_manifest(
        self, stamp: int, repository: RepositoryName, reference: Reference, found: StoredManifest
    ) -> None:
        """Remember what was read after `stamp` was taken."""
        if isinstance(reference, Tag):
            self._keep_if(stamp, (repository, TAG, reference), found.digest, 0)
        key = (repository, MANIFEST, found.digest)
        if found.raw or key not in self._held:
            self._keep_if(stamp, key, found, len(found.raw))

    def keep_blob(self, stamp: int, repository: RepositoryName, found: StoredBlob) -> None:
        """Remember what was read after `stamp` was taken."""
        self._keep_if(stamp, (repository, BLOB, found.digest), found, 100 * len(found.pieces))

    async def renew_blobs(self, repository: RepositoryName) -> None:
        """Read again where the bytes of a repository's blobs lie, all in one; who come meanwhile wait for the same.

        Raises Unavailable.
        """
        flight = self._flights.get(repository)
        if flight is None:
            flight = self._flights[repository] = asyncio.ensure_future(self._renew(repository))
            flight.add_done_callback(lambda _: self._flights.pop(repository, None))
        await asyncio.shield(flight)

    def forget(self, repository: RepositoryName, digest: Digest) -> None:
        """Something has just been deleted here."""
        self._forget((repository, MANIFEST, digest))
        self._forget((repository, BLOB, digest))

    async def _renew(self, repository: RepositoryName) -> None:
        wanted = [Digest(digest) for digest in self._blobs.get(repository, ())]
        wanted.sort(key=lambda digest: self._held[repository, BLOB, digest].read_at, reverse=True)
        wanted, stamp = wanted[:MOST_RENEWED], self.stamp
        found = await self._database.read(lambda tx: blobs.list_blobs_in(tx, repository, wanted))
        for digest in wanted:
            self._drop((repository, BLOB, digest))
        for blob in found:
            if blob.is_good:
                self.keep_blob(stamp, repository, blob)

    async def _read(self, last: SeenEvent) -> list[SeenEvent] | None:
        seen = await self._database.read(lambda tx: events.list_seen(tx, last, BATCH))
        for event in seen or ():
            if event.kind.startswith(ABOUT_CONTENT) and event.kind not in HARMLESS:
                self._follow(event)
            if event.is_settled:
                self._last = event
        return seen

    def _follow(self, event: SeenEvent) -> None:
        detail = _read_detail(event.detail)
        subject, _, hexadecimal = event.subject.partition(":")
        if hexadecimal:
            # About bytes, wherever they are known.
            about = {(BLOB, event.subject), (MANIFEST, event.subject)}
            self._forget_all(key for key in self._held if key[1:] in about)
        elif detail.tag:
            held = self._held.get((subject, TAG, detail.tag))
            if held is None or held.value != detail.to:
                self._forget((subject, TAG, detail.tag))
        elif detail.digest:
            self._forget((subject, MANIFEST, detail.digest))
            self._forget((subject, BLOB, detail.digest))
        else:
            self._forget_all(key for key in self._held if key[0] == subject)

    def _find(self, key: _Key) -> _Held | None:
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        return held

    def _keep_if(self, stamp: int, key: _Key, value: object, size: int) -> None:
        if stamp < self._floor or self._forgotten.get(key, 0) > stamp:
            return
        self._drop(key)
        cost = ENTRY_BYTES + size
        if cost > self._most_bytes:
            return
        self._held[key] = _Held(value, cost, self._now())
        self._bytes += cost
        if key[1] == BLOB:
            self._blobs.setdefault(key[0], set()).add(key[2])
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._held)))

    def _forget(self, key: _Key) -> None:
        self.stamp += 1
        self._forgotten[key] = self.stamp
        if len(self._forgotten) > MOST_FORGOTTEN:
            self._forgotten.clear()
            self._floor = self.stamp
        self._drop(key)

    def _forget_all(self, keys: Iterable[_Key]) -> None:
        self.stamp += 1
        self._floor = self.stamp
        for key in list(keys):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        self._bytes -= held.cost
        if key[1] == BLOB:
            known = self._blobs[key[0]]
            known.discard(key[2])
            if not known:
                del self._blobs[key[0]]

    def _clear(self) -> None:
        self._forget_all(self._held)

"""What a manifest needs, brought back with it: of what its repository has hidden, whatever still has its bytes.

As a push does, all of it is looked at and named in one transaction: the collector finds it named, or is told to try
again, and so is whoever deletes some of it at the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from entrepot.core.registry import Act
from entrepot.domain.digests import Digest
from entrepot.domain.errors import Conflict, ManifestInvalid
from entrepot.domain.manifest import Edge, EdgeKind, parse_manifest
from entrepot.domain.names import RepositoryName
from entrepot.metadata import audit, blobs, pins, repositories, trash
from entrepot.metadata.repositories import MemberKind
from entrepot.ports.database import Tx

MOST: Final = 10_000
MOST_NAMED: Final = 20
MOST_SAID: Final = 3

Place = tuple[int, RepositoryName]
Content = tuple[Digest, MemberKind]


class Row(msgspec.Struct, frozen=True):
    """An edge as the graph has it, of a manifest that cannot be read any more."""

    kind: EdgeKind
    digest: Digest
    is_optional: bool
    size: int = 0


async def bring_back(tx: Tx, act: Act, place: Place, root: Content) -> list[Content]:
    """Make what a manifest needs known again in its repository; what came back, without the root itself.

    Raises Conflict where something is gone for good, or damaged: then nothing is to come back.
    """
    walk = _Walk(tx, act, place)
    if root[1] == "blob":
        await walk.require_blob(root[0])
    else:
        await walk.follow(root[0])
    if walk.gone:
        named = sorted(walk.gone)
        more = f" and {len(named) - MOST_SAID} more" if len(named) > MOST_SAID else ""
        raise Conflict(
            "it cannot come back whole, so nothing was brought back: "
            f"{', '.join(named[:MOST_SAID])}{more}, which it needs, is gone for good or damaged; push the image again",
            name=place[1],
            digests=named[:MOST_NAMED],
        )
    return walk.back


class _Walk:
    """The way down from one manifest, through indexes to every blob."""

    def __init__(self, tx: Tx, act: Act, place: Place) -> None:
        self._tx = tx
        self._act = act
        self._repository, self._name = place
        self._seen: set[Digest] = set()
        self._left: list[Digest] = []
        self.back: list[Content] = []
        self.gone: set[Digest] = set()

    async def require_blob(self, digest: Digest) -> None:
        """A blob that comes back by itself has its bytes."""
        if await blobs.find_state(self._tx, digest) != "good":
            self.gone.add(digest)

    async def follow(self, root: Digest) -> None:
        """Look at a manifest, and at every manifest below it."""
        self._seen.add(root)
        self._left.append(root)
        while self._left:
            digest = self._left.pop()
            stored = await audit.find_raw(self._tx, digest)
            if stored is None:
                self.gone.add(digest)
            else:
                await self._claim(await self._list_edges(digest, stored))

    async def _list_edges(self, digest: Digest, stored: tuple[str, bytes]) -> list[Edge | Row]:
        try:
            edges: Sequence[Edge | Row] = parse_manifest(*stored, optional=self._act.rules.optional_edges).edges
        except ManifestInvalid:
            # Accepted by the rules of another version, or damaged: the graph alone tells what it names.
            found = await audit.list_children(self._tx, digest)
            edges = [Row(kind, Digest(child), is_optional=True) for child, kind in found]
        # What was looked at for another manifest is there, or known to be gone.
        return [edge for edge in edges if edge.kind != "subject" and edge.digest not in self._seen]

    async def _claim(self, edges: list[Edge | Row]) -> None:
        self._seen.update(edge.digest for edge in edges)
        if len(self._seen) > MOST:
            raise Conflict(
                f"it leads to more than {MOST} manifests and blobs, too many to bring back at once; push it again",
                name=self._name,
            )
        named = [edge.digest for edge in edges]
        children = {edge.digest for edge in edges if edge.kind == "manifest"}
        # An index may also list blobs: BuildKit's cache export does.
        known = await repositories.list_known(self._tx, self._repository, named, "blob")
        manifests = await repositories.list_known(self._tx, self._repository, children, "manifest")
        lost = [digest for digest in named if digest not in known | manifests]
        for digest, kind in await trash.list_hidden(self._tx, self._repository, lost):
            if kind == "blob" or digest in children:
                await self._take(digest, kind)
                (known if kind == "blob" else manifests).add(digest)
        self._left += [Digest(digest) for digest in manifests]
        self.gone.update(e.digest for e in edges if not e.is_optional and e.digest not in known | manifests)

    async def _take(self, digest: Digest, kind: MemberKind) -> None:
        await repositories.put_member(self._tx, self._repository, digest, kind, self._act.now)
        await pins.end_pins(self._tx, self._repository, digest, "trash", self._act.now)
        self.back.append((digest, kind))

"""What was deleted, until its time is over, and bringing it back whole, with the tags that went with it."""

from __future__ import annotations

from typing import Final

import msgspec

from entrepot.core.decide import require
from entrepot.core.listing import Page
from entrepot.core.push import keep_untagged, move_tag
from entrepot.core.registry import SECOND, Act, Registry
from entrepot.core.repositories import get_repository
from entrepot.core.whole import Content, Place, bring_back
from entrepot.domain.access import Action, Caller
from entrepot.domain.digests import Digest
from entrepot.domain.errors import ManifestUnknown
from entrepot.domain.events import Event, EventKind
from entrepot.domain.names import RepositoryName, Tag
from entrepot.metadata import events, pins, repositories, tags, trash
from entrepot.metadata.tags import Move
from entrepot.metadata.trash import TrashRow
from entrepot.ports.database import Tx

VIA: Final = "restore"


class Trashed(msgspec.Struct, frozen=True):
    """Something that can be brought back, and the tags that would come with it unless they point elsewhere by then."""

    row: TrashRow
    tags: tuple[Tag, ...]


class Restored(msgspec.Struct, frozen=True):
    """What was brought back, as what, the tags that point at it again, and what it needs and came back with it."""

    digest: Digest
    kinds: tuple[str, ...]
    tags: tuple[Tag, ...]
    contents: tuple[Digest, ...]


async def list_trash(registry: Registry, repository: RepositoryName, page: Page) -> tuple[list[Trashed], str | None]:
    """What was deleted and can be brought back, a page by digest, and after which one the next begins.

    Raises NameUnknown.
    """
    now = registry.clock.now()

    async def collect(tx: Tx) -> list[Trashed]:
        known = await get_repository(tx, repository)
        rows = await trash.list_trash(tx, known, now, page.after, page.limit + 1)
        return [
            Trashed(row, tuple(await trash.list_lost_tags(tx, known, Digest(row.digest), row.deleted_at)))
            for row in rows
        ]

    found = await registry.database.read(collect)
    return found[: page.limit], found[page.limit - 1].row.digest if len(found) > page.limit else None


async def restore(registry: Registry, caller: Caller, repository: RepositoryName, digest: Digest) -> Restored:
    """Bring back what was deleted, with what it needs and the tags that went with it, unless these point elsewhere now.

    Raises NameUnknown, Denied, ManifestUnknown where the trash has no such digest, and Conflict where something that it
    needs is gone for good; then nothing comes back.
    """
    act = msgspec.structs.replace(registry.act(caller), via=VIA)
    require(caller, act.snapshot, Action.DELETE, repository)

    async def record(tx: Tx) -> Restored:
        place = await get_repository(tx, repository), repository
        deleted = await trash.list_deleted(tx, place[0], digest, act.now)
        if not deleted:
            raise ManifestUnknown(
                "the trash of this repository has no such digest; push it again", name=repository, reference=digest
            )
        back: list[Tag] = []
        contents: list[Content] = []
        for kind, at in deleted:
            contents += await bring_back(tx, act, place, (digest, kind))
            tags_of = await _put_back(tx, act, place, (digest, kind), at)
            back += tags_of
            await _tell(tx, act, repository, (digest, kind), {"tags": list(tags_of)})
        for each in contents:
            await _tell(tx, act, repository, each, {"tags": [], "with": digest})
        # What keeps it now is the tags, or the pins that were put here.
        await pins.end_pins(tx, place[0], digest, "trash", act.now)
        needed = tuple(each for each, _ in contents)
        return Restored(digest, tuple(kind for kind, _ in deleted), tuple(back), needed)

    return await registry.database.transact(record)


async def _put_back(tx: Tx, act: Act, place: Place, content: Content, deleted_at: int) -> list[Tag]:
    digest, kind = content
    await repositories.put_member(tx, place[0], digest, kind, act.now)
    if kind == "manifest":
        return await _point_again(tx, act, place, digest, deleted_at)
    until = act.now + act.rules.promise_seconds * SECOND
    await pins.put_pin(tx, place[0], digest, ("upload", ""), until)
    return []


async def _tell(tx: Tx, act: Act, repository: RepositoryName, content: Content, more: dict[str, object]) -> None:
    digest, kind = content
    what: EventKind = "manifest.restored" if kind == "manifest" else "blob.restored"
    await events.add_event(tx, Event(what, act.actor, repository, {"digest": digest, **more}), act.now, act.by)


async def _point_again(tx: Tx, act: Act, place: Place, digest: Digest, deleted_at: int) -> list[Tag]:
    known, name = place
    back = []
    for tag in await trash.list_lost_tags(tx, known, digest, deleted_at):
        if await tags.find_tag_digest(tx, known, tag) is None:
            require(act.caller, act.snapshot, Action.TAG_CREATE, f"{name}:{tag}")
            await move_tag(tx, act, known, name, Move(tag, None, digest, act.actor, act.via))
            back.append(tag)
    if not back:
        await keep_untagged(tx, act, known, digest)
    return back

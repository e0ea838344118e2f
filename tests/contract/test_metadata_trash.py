"""What was deleted and can be brought back, on both engines."""

from __future__ import annotations

from functools import partial

from entrepot.domain.digests import Digest
from entrepot.domain.names import Tag
from entrepot.metadata import pins, repositories, tags, trash
from entrepot.metadata.repositories import MemberKind
from entrepot.metadata.tags import DeletedTagRow
from entrepot.metadata.trash import TrashRow
from tests.contract.engines import Held
from tests.contract.rows import NOW, OTHER, add_repository, digest


def put(held: Held, repository: int, content: object, kind: MemberKind, until: int) -> None:
    """Something that was deleted at NOW and is kept as trash until then."""
    held.transact(partial(repositories.put_member, repository=repository, digest=digest(content), kind=kind, now=1))
    held.transact(
        partial(repositories.delete_member, repository=repository, digest=digest(content), kind=kind, now=NOW)
    )
    held.transact(partial(pins.put_pin, repository=repository, digest=digest(content), pin=("trash", ""), until=until))


def test_the_trash_is_listed(held: Held) -> None:
    """What its pin keeps, in this repository, by pages; what is both kinds once; what was pushed again not at all."""
    known, other = add_repository(held), add_repository(held, OTHER)
    for content in ("one", "two", "both", "again"):
        put(held, known, content, "manifest", NOW + 9)
    put(held, known, "both", "blob", NOW + 9)
    put(held, known, "ended", "manifest", NOW)
    put(held, other, "elsewhere", "manifest", NOW + 9)
    held.transact(partial(repositories.put_member, repository=known, digest=digest("again"), kind="manifest", now=NOW))
    held.execute(
        "insert into manifest (digest, media_type, raw, created_at) values ($1, $2, $3, $4)",
        *(digest("one"), "x/y", b"{}", NOW),
    )
    wanted = sorted(digest(content) for content in ("one", "two", "both"))
    found = held.read(lambda tx: trash.list_trash(tx, known, NOW, "", 9))
    assert [row.digest for row in found] == wanted
    assert TrashRow(digest("one"), "manifest", NOW, NOW + 9, "x/y", 2) in found
    assert {row.kind for row in found} == {"manifest"}
    assert held.read(lambda tx: trash.list_trash(tx, known, NOW, wanted[0], 1)) == [found[1]]
    deleted = partial(trash.list_deleted, repository=known, now=NOW)
    assert held.read(partial(deleted, digest=digest("both"))) == [("blob", NOW), ("manifest", NOW)]
    assert held.read(partial(deleted, digest=digest("ended"))) == []
    assert held.read(partial(deleted, digest=digest("again"))) == []


def test_tags_that_went_with_a_manifest(held: Held) -> None:
    """Those that were deleted at that very time, and not those that had left it before or moved elsewhere."""
    known = add_repository(held)
    moves = [
        ("gone", digest("m"), None, NOW),
        ("gone", digest("m"), None, NOW),
        ("before", digest("m"), None, NOW - 1),
        ("moved", digest("m"), digest("n"), NOW),
        ("other", digest("n"), None, NOW),
    ]
    for name, old, new, at in moves:
        held.transact(
            partial(tags.add_tag_event, repository=known, move=tags.Move(Tag(name), old, new, "a", "b"), now=at)
        )
    assert held.read(lambda tx: trash.list_lost_tags(tx, known, digest("m"), NOW)) == ["gone"]


def test_what_was_deleted_and_has_its_content(held: Held) -> None:
    """Stored manifests and blobs in service that are hidden in this repository, however many are asked about."""
    known = add_repository(held)
    for content, kind in (("m", "manifest"), ("lost", "manifest"), ("b", "blob"), ("bad", "blob"), ("live", "blob")):
        put(held, known, content, "manifest" if kind == "manifest" else "blob", NOW)
    held.transact(partial(repositories.put_member, repository=known, digest=digest("live"), kind="blob", now=NOW))
    held.execute("insert into manifest (digest, media_type, raw, created_at) values ($1, '', $2, 1)", digest("m"), b"")
    for content, state in (("b", "good"), ("bad", "damaged"), ("live", "good")):
        held.execute("insert into blob (digest, size, state, created_at) values ($1, 1, $2, 1)", digest(content), state)
    many = [digest(number) for number in range(300)]
    asked = [*many, *(digest(content) for content in ("m", "lost", "b", "bad", "live"))]
    hidden = held.read(lambda tx: trash.list_hidden(tx, known, asked))
    assert hidden == sorted([(digest("m"), "manifest"), (digest("b"), "blob")])


def test_tags_that_were_deleted(held: Held) -> None:
    """Whose last move was away from a manifest that is there, and that do not stand, by pages, with their end."""
    known, other = add_repository(held), add_repository(held, OTHER)
    for content in ("m", "n"):
        held.transact(
            partial(repositories.put_member, repository=known, digest=digest(content), kind="manifest", now=1)
        )
    put(held, known, "hidden", "manifest", NOW + 9)
    moves: list[tuple[int, str, Digest | None, Digest | None]] = [
        (known, "a", digest("m"), digest("n")),
        (known, "a", digest("n"), None),
        (known, "B", digest("m"), None),
        (known, "back", digest("m"), None),
        (known, "back", None, digest("m")),
        (known, "stands", digest("m"), None),
        (known, "lost", digest("hidden"), None),
        (other, "elsewhere", digest("m"), None),
    ]
    for repository, name, old, new in moves:
        move = tags.Move(Tag(name), old, new, "ann", "api")
        held.transact(partial(tags.add_tag_event, repository=repository, move=move, now=NOW))
    held.transact(partial(tags.point, repository=known, tag=Tag("stands"), digest=digest("m"), now=NOW))
    for holder, content, until in (("a", "n", NOW + 9), ("a", "m", NOW + 99), ("B", "m", NOW)):
        held.transact(
            partial(pins.put_pin, repository=known, digest=digest(content), pin=("history", holder), until=until)
        )
    rows = held.read(lambda tx: tags.list_deleted_tags(tx, known, NOW, ("", 9)))
    assert rows == [
        DeletedTagRow("B", digest("m"), "ann", "api", NOW, 0),
        DeletedTagRow("a", digest("n"), "ann", "api", NOW, NOW + 9),
    ]
    assert held.read(lambda tx: tags.list_deleted_tags(tx, known, NOW, ("B", 1))) == rows[1:]

"""What the collector asks and forgets, on both engines."""

from __future__ import annotations

from functools import partial

from entrepot.metadata import blobs, collect, jobs, pins, repositories
from entrepot.metadata.collect import EndedPin
from entrepot.ports.store import Piece
from tests.contract.engines import Held
from tests.contract.rows import APP, NOW, OTHER, add_repository, digest


def pin(held: Held, repository: int, content: object, until: int) -> None:
    """Something is kept until then."""
    held.transact(partial(pins.put_pin, repository=repository, digest=digest(content), pin=("upload", ""), until=until))


def edge(held: Held, parent: object, child: object, kind: str) -> None:
    """A manifest names something."""
    held.execute("insert into edge (parent, child, kind) values ($1, $2, $3)", digest(parent), digest(child), kind)


def member(held: Held, repository: int, content: object, kind: repositories.MemberKind) -> None:
    """A repository knows something."""
    held.transact(partial(repositories.put_member, repository=repository, digest=digest(content), kind=kind, now=NOW))


def test_ended_pins(held: Held) -> None:
    """Those that have ended come in the order of their ends, are counted, and go unless they were renewed."""
    known = add_repository(held)
    for number, until in ((1, NOW - 1), (2, NOW), (3, NOW + 1), (4, NOW - 9)):
        pin(held, known, number, until)
    ended = held.read(lambda tx: collect.list_ended_pins(tx, NOW, 9))
    assert [each.digest for each in ended] == [digest(4), digest(1), digest(2)]
    assert ended[0] == EndedPin(known, digest(4), "upload", "")
    assert [held.read(partial(collect.count_ended_pins, now=NOW, most=most)) for most in (9, 2)] == [3, 2]
    held.transact(lambda tx: collect.remove_ended_pin(tx, ended[0], NOW))
    pin(held, known, 1, NOW + 5)
    held.transact(lambda tx: collect.remove_ended_pin(tx, ended[1], NOW))
    left = {row[0] for row in held.rows("select digest from pin")}
    assert left == {digest(1), digest(2), digest(3)}


def test_what_is_to_be_looked_at_later(held: Held) -> None:
    """Reviews after now and up to a time, in that order, a number of them; other pins are none."""
    known = add_repository(held)
    for number, until in ((1, NOW), (2, NOW + 7), (3, NOW + 1), (4, NOW + 8)):
        review = partial(pins.put_pin, repository=known, digest=digest(number), pin=("review", ""), until=until)
        held.transact(review)
    pin(held, known, 5, NOW + 2)
    reviews = partial(collect.list_reviews, now=NOW, until=NOW + 7)
    assert held.read(partial(reviews, limit=9)) == [(known, digest(3)), (known, digest(2))]
    assert held.read(partial(reviews, limit=1)) == [(known, digest(3))]


def test_what_keeps_something(held: Held) -> None:
    """A tag or a pin that holds, in this repository, on the digest or on a manifest that contains it."""
    known, other = add_repository(held), add_repository(held, OTHER)
    pin(held, known, "pinned", NOW + 1)
    pin(held, known, "ended", NOW)
    held.execute(
        "insert into tag (repository, name, digest, generation, moved_at) values ($1, $2, $3, 1, $4)",
        *(known, "v1", digest("tagged"), NOW),
    )
    found = {
        content: held.read(partial(collect.is_rooted, repository=known, digest=digest(content), now=NOW))
        for content in ("pinned", "ended", "tagged", "else")
    }
    assert found == {"pinned": True, "ended": False, "tagged": True, "else": False}
    assert not held.read(lambda tx: collect.is_rooted(tx, other, digest("tagged"), NOW))
    edge(held, "tagged", "layer", "layer")
    edge(held, "pinned", "config", "config")
    edge(held, "tagged", "s", "subject")
    kept = [
        held.read(partial(collect.has_rooted_parent, repository=known, digest=digest(child), now=NOW))
        for child in ("layer", "config", "s", "else")
    ]
    assert kept == [True, True, False, False]
    beside = partial(collect.is_rooted, repository=known, now=NOW, but="upload")
    assert [held.read(partial(beside, digest=digest(each))) for each in ("pinned", "tagged")] == [False, True]
    beside = partial(collect.has_rooted_parent, repository=known, now=NOW, but="upload")
    assert [held.read(partial(beside, digest=digest(each))) for each in ("config", "layer")] == [False, True]


def test_who_contains_what(held: Held) -> None:
    """Containers of a repository by pages, hidden ones too, each once; and what its manifests are about."""
    known = add_repository(held)
    for number in range(3):
        member(held, known, number, "manifest")
        edge(held, number, "both", "layer")
        edge(held, number, "both", "config")
        edge(held, number, "subject", "subject")
    edge(held, "elsewhere", "both", "layer")
    held.transact(lambda tx: repositories.delete_member(tx, known, digest(0), "manifest", NOW))
    wanted = sorted(digest(number) for number in range(3))
    parents = partial(collect.list_parents, repository=known, digest=digest("both"))
    assert held.read(partial(parents, page=("", 9))) == wanted
    assert held.read(partial(parents, page=(wanted[0], 1))) == [wanted[1]]
    assert held.read(partial(parents, digest=digest("subject"), page=("", 9))) == []
    edge(held, "elsewhere", "subject", "subject")
    subjects = partial(collect.list_subjects, repository=known)
    found = [held.read(partial(subjects, manifest=digest(each))) for each in (0, 1, "elsewhere", "none")]
    assert found == [[digest("subject")], [digest("subject")], [], []]


def test_what_a_manifest_keeps(held: Held) -> None:
    """What it contains and is there, who refers to it, and who refers to what it contains and is not there."""
    known, other = add_repository(held), add_repository(held, OTHER)
    member(held, known, "there", "blob")
    member(held, other, "absent", "blob")
    for content in ("referrer", "referrer of the absent", "referrer of the present"):
        member(held, known, content, "manifest")
    for child, kind in (("there", "layer"), ("there", "config"), ("absent", "manifest"), ("its subject", "subject")):
        edge(held, "gone", child, kind)
    edge(held, "referrer", "gone", "subject")
    edge(held, "referrer elsewhere", "gone", "subject")
    edge(held, "referrer of the absent", "absent", "subject")
    edge(held, "referrer of the present", "there", "subject")
    wanted = sorted(digest(each) for each in ("there", "referrer", "referrer of the absent"))
    assert sorted(held.read(lambda tx: collect.list_kept(tx, known, digest("gone")))) == wanted
    held.transact(partial(pins.put_pin, repository=known, digest=digest("there"), pin=("review", ""), until=NOW + 9))
    held.transact(lambda tx: collect.queue_kept(tx, known, digest("gone"), NOW + 5))
    queued = {row[0]: row[1] for row in held.rows("select digest, until from pin where reason = 'review'")}
    assert queued == {digest("there"): NOW + 9} | dict.fromkeys(wanted, NOW + 5) | {digest("there"): NOW + 9}


def test_pins_end(held: Held) -> None:
    """Those of one reason end now, on one digest; those that have ended stay as they were."""
    known = add_repository(held)
    for holder, until in (("v1", NOW + 5), ("v2", NOW - 5)):
        pinned = partial(pins.put_pin, repository=known, digest=digest(1), pin=("history", holder), until=until)
        held.transact(pinned)
    pin(held, known, 1, NOW + 5)
    held.transact(lambda tx: pins.end_pins(tx, known, digest(1), "history", NOW))
    found = {row[0] + row[1]: row[2] for row in held.rows("select reason, holder, until from pin")}
    assert found == {"historyv1": NOW, "historyv2": NOW - 5, "upload": NOW + 5}


def test_forgetting(held: Held) -> None:
    """Members go by repository; manifests and blobs once nobody knows them."""
    known, other = add_repository(held), add_repository(held, OTHER)
    for repository in (known, other):
        member(held, repository, "both", "blob")
        member(held, repository, "both", "manifest")
    assert sorted(held.read(lambda tx: collect.list_kinds(tx, known, digest("both")))) == ["blob", "manifest"]
    assert sorted(held.read(lambda tx: collect.list_homes(tx, digest("both"), "blob", 9))) == [known, other]
    held.transact(lambda tx: collect.remove_member(tx, known, digest("both")))
    assert held.read(lambda tx: collect.list_homes(tx, digest("both"), "blob", 9)) == [other]
    held.transact(lambda tx: blobs.add_blob(tx, digest("both"), [Piece("k1", 3), Piece("k2", 4)], NOW))
    assert [held.read(partial(collect.find_blob_size, digest=digest(each))) for each in ("both", "none")] == [7, 0]
    held.transact(lambda tx: collect.remove_blob(tx, digest("both")))
    assert held.rows("select 1 from blob") == held.rows("select 1 from location") == []
    edge(held, "both", "layer", "layer")
    held.execute(
        "insert into manifest (digest, media_type, raw, created_at) values ($1, $2, $3, $4)",
        *(digest("both"), "x", b"{}", NOW),
    )
    held.transact(lambda tx: collect.remove_manifest(tx, digest("both")))
    assert held.rows("select 1 from manifest") == held.rows("select 1 from edge") == []
    assert [held.read(partial(collect.find_repository_name, repository=each)) for each in (known, 999)] == [APP, ""]


def test_all_is_marked_by_pages(held: Held) -> None:
    """Each place once, in order, with whether a tag, a pin, or a manifest that these keep, keeps it there."""
    known, other = add_repository(held), add_repository(held, OTHER)
    wanted = {"tagged": True, "pinned": True, "ended": False, "of tagged": True, "of pinned": True, "of ended": False}
    wanted |= {"about tagged": False, "loose": False}
    for content in wanted:
        member(held, known, content, "manifest")
    member(held, known, "tagged", "blob")
    member(held, other, "of tagged", "blob")
    pin(held, known, "pinned", NOW + 1)
    pin(held, known, "ended", NOW)
    held.execute(
        "insert into tag (repository, name, digest, generation, moved_at) values ($1, $2, $3, 1, $4)",
        *(known, "v1", digest("tagged"), NOW),
    )
    for parent in ("tagged", "pinned", "ended"):
        edge(held, parent, f"of {parent}", "layer")
    edge(held, "about tagged", "tagged", "subject")
    edge(held, "tagged", "about tagged", "subject")
    mark = partial(collect.mark_members_after, now=NOW)
    page = held.read(partial(mark, after=(0, ""), limit=99))
    assert page == [
        *(((known, key), kept) for key, kept in sorted((digest(k), v) for k, v in wanted.items())),
        ((other, digest("of tagged")), False),
    ]
    assert held.read(partial(mark, after=page[0][0], limit=2)) == page[1:3]
    assert held.read(partial(mark, after=page[-1][0], limit=2)) == []
    assert held.read(collect.count_members) == len(wanted) + 2


def test_a_job_is_hastened(held: Held) -> None:
    """One that waits runs by then, one that runs is not queued again, and one that is not there is queued."""
    hasten = partial(jobs.hasten_job, kind="collect", run_at=NOW)
    held.transact(lambda tx: jobs.add_job(tx, "collect", "", {}, NOW + 50))
    held.transact(hasten)
    assert held.rows("select run_at from job") == [(NOW,)]
    claimed = held.transact(lambda tx: jobs.claim_jobs(tx, jobs.Claim("w", NOW, NOW + 1, 9)))
    held.transact(hasten)
    assert held.rows("select state from job") == [("running",)]
    held.transact(lambda tx: jobs.finish_job(tx, claimed[0].id))
    held.transact(hasten)
    assert held.rows("select kind, key, payload, state, run_at from job") == [("collect", "", "{}", "pending", NOW)]

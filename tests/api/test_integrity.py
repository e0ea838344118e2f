"""Whether stored bytes are what they should be, seen from the management API: `/integrity`."""

from __future__ import annotations

import time
from datetime import datetime

from entrepot.core.registry import SECOND
from entrepot.core.scrub import Pacer, Scrubber
from entrepot.domain.digests import digest_of
from tests.api.door import NEW, OLD, PRIVATE, PUBLIC, Door


def scrub(door: Door) -> None:
    """Let the job process read everything that is due."""
    scrubber = Scrubber(door.world.registry, "worker", Pacer(1 << 40, time.monotonic))
    while door.world.run(scrubber.run()):
        continue


def test_a_round_finds_damage_and_names_the_tags(door: Door) -> None:
    """Nothing is due at first; a round that was asked for reads all, puts the damaged blob aside and says what breaks;
    pushed again it is sound, and everything that happened is an event.
    """
    before = door.send("admin", "GET", "/integrity")
    assert (before["damaged"], before["due"], before["running"], before["read_blobs"]) == (0, 0, False, 0)
    assert (before["bytes_per_second"], before["days"]) == (10 << 20, 30)
    assert door.send("admin", "GET", "/integrity/damaged") == {"blobs": []}
    layer = NEW.blobs[-1]
    (key,) = door.world.rows("select key from location where blob = $1", digest_of(layer))[0]
    door.world.store.content[str(key)] = layer[::-1]
    door.world.clock.advance(seconds=1)
    assert door.send("admin", "POST", "/integrity/scrub", {}) == {"due": 3}
    scrub(door)
    after = door.send("admin", "GET", "/integrity")
    assert (after["damaged"], after["due"], after["read_blobs"], after["found_damaged"]) == (1, 0, 3, 1)
    assert datetime.fromisoformat(after["oldest"]).timestamp() == door.world.clock.now() // SECOND
    tags = [f"{PRIVATE}:latest", f"{PUBLIC}:latest"]
    damaged = {"digest": digest_of(layer), "size": len(layer), "tags": tags}
    assert door.send("admin", "GET", "/integrity/damaged") == {"blobs": [damaged]}
    assert door.events("scrub.requested") == [("admin", "", {})]
    ((actor, subject, detail),) = door.events("blob.damaged")
    assert (actor, subject, detail["tags"]) == ("scrub", digest_of(layer), tags)
    door.push(PRIVATE, NEW, "latest")
    assert door.send("admin", "GET", "/integrity")["damaged"] == 0


def test_damaged_blobs_come_in_pages(door: Door) -> None:
    """Each page leads to the next, in the order of digests."""
    door.world.transact(lambda tx: tx.execute("update blob set state = 'damaged'"))
    expected = sorted({str(digest_of(content)) for image in (OLD, NEW) for content in image.blobs})
    found, path = [], "/integrity/damaged?n=2"
    while path:
        answer = door.ask("admin", "GET", path)
        found += [each["digest"] for each in answer.json["blobs"]]
        path = answer["link"].partition(">")[0].removeprefix("</api/v1")
    assert found == expected


def test_nothing_is_read_where_that_is_switched_off(door: Door) -> None:
    """A round that would never begin is refused, and says which setting to change; an empty registry has no oldest."""
    rules = door.world.registry.rules
    object.__setattr__(door.world.registry, "rules", type(rules)(scrub_bytes_per_second=0))
    answer = door.ask("admin", "POST", "/integrity/scrub", {})
    assert (answer.status, answer.code) == (409, "CONFLICT")
    assert "scrub.bytes_per_second" in str(answer.json)
    door.world.transact(lambda tx: tx.execute("delete from blob"))
    assert door.send("admin", "GET", "/integrity")["oldest"] is None

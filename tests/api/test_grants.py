"""Grants, questions about them, and refusals that can be asked about: `/grants`, `/access`, `/denials`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from entrepot.core.denials import MOST_HELD, NEW_A_SECOND, DenialLog, expire_denials, get_denial, store_denials
from entrepot.domain.access import Action, Caller, Identity, Origin
from entrepot.domain.errors import Unavailable, Unknown
from entrepot.metadata import accounts, policy, teams
from entrepot.ports.database import Tx
from tests.api.door import PRIVATE, Door
from tests.support.faults import FaultyDatabase, Saboteur
from tests.support.images import image
from tests.support.world import push_blob, put_manifest

WRITER = {"subject": "user:bob", "resource": "priv/app", "role": "writer"}


def test_a_grant_is_given_seen_and_taken(door: Door) -> None:
    """It holds at once, is listed for whoever owns what it is on, and its end holds at once as well."""
    made = door.send("alice", "POST", "/grants", WRITER)
    assert (made["subject"], made["effect"], made["role"], made["granted_by"]) == (
        "user:bob",
        "allow",
        "writer",
        "alice",
    )
    assert door.world.client("bob").request("GET", "/v2/priv/app/tags/list").status == 200
    assert door.send("alice", "GET", f"/grants/{made['id']}") == made
    assert made in door.send("alice", "GET", "/grants?resource=priv")["grants"]
    assert made in door.send("admin", "GET", "/grants")["grants"]
    assert door.ask("alice", "POST", "/grants", WRITER).status == 409
    door.send("alice", "DELETE", f"/grants/{made['id']}")
    assert door.world.client("bob").request("GET", "/v2/priv/app/tags/list").status == 404
    assert door.ask("alice", "DELETE", f"/grants/{made['id']}").status == 404
    assert [kind for kind in ("grant.given", "grant.taken") if door.events(kind)] == ["grant.given", "grant.taken"]


def test_grants_are_paged(door: Door) -> None:
    """In the order of their numbers, with a Link; what only sounds alike is left out."""
    door.send("admin", "POST", "/namespaces", {"name": "priv-2", "owner": "alice"})
    door.send("alice", "POST", "/grants", {**WRITER, "resource": "priv-2"})
    first = door.ask("alice", "GET", "/grants?resource=priv&n=1")
    assert len(first.json["grants"]) == 1
    assert "resource=priv" in first["link"]
    everything = door.send("alice", "GET", "/grants?resource=priv")["grants"]
    assert {grant["resource"] for grant in everything} == {"priv", "priv/app"}


def test_grants_of_somebody(door: Door) -> None:
    """Only those that are for exactly this subject, by pages, for whoever may list; an unknown one is told."""
    made = [door.send("alice", "POST", "/grants", {**WRITER, "resource": f"priv/a{number}"}) for number in range(3)]
    door.send("alice", "POST", "/grants", {**WRITER, "subject": "everyone"})
    assert door.send("alice", "GET", "/grants?resource=priv&subject=user:bob")["grants"] == made
    assert door.send("admin", "GET", "/grants?subject=user:bob")["grants"] == made
    first = door.ask("alice", "GET", "/grants?resource=priv&subject=user:bob&n=2")
    assert (first.json["grants"], "subject=user%3Abob" in first["link"]) == (made[:2], True)
    assert [each["subject"] for each in door.send("admin", "GET", "/grants?subject=everyone")["grants"]] == ["everyone"]
    assert door.ask("carol", "GET", "/grants?subject=user:carol").status == 403
    for text, status in (("user:nobody", 409), ("bob", 400)):
        answer = door.ask("admin", "GET", f"/grants?subject={text}")
        assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (status, "subject")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"subject": "bob"}, 400, "subject"),
        ({"subject": "team:devs"}, 400, "subject"),
        ({"subject": "user:"}, 400, "subject"),
        ({"subject": "user:nobody"}, 409, "subject"),
        ({"subject": "service:bob"}, 409, "subject"),
        ({"subject": "team:acme/devs"}, 409, "subject"),
        ({"role": ""}, 400, "role"),
        ({"actions": ["pull"]}, 400, "role"),
        ({"role": "king"}, 409, "role"),
        ({"role": "", "actions": ["pull", "fly"]}, 400, "actions[1]"),
        ({"resource": "priv/***"}, 400, "resource"),
        ({"resource": "priv/*a*b*c*d*"}, 400, "resource"),
        ({"resource": "priv/a*A"}, 400, "resource"),
        ({"tags": "v:*"}, 400, "tags"),
        ({"tags": "v*", "role": "", "actions": ["push"]}, 400, "actions"),
        ({"conditions": {"networks": ["10.0.0.0/8", "10.0.0.1/8"]}}, 400, "conditions.networks[1]"),
        ({"conditions": {"networks": ["10.0.0.0/33"]}}, 400, "conditions.networks[0]"),
        ({"conditions": {"not_networks": ["ten"]}}, 400, "conditions.not_networks[0]"),
        ({"conditions": {"hours": {"start": "8:00", "end": "18:00"}}}, 400, "conditions.hours.start"),
        ({"conditions": {"hours": {"start": "08:00", "end": "24:00"}}}, 400, "conditions.hours.end"),
        (
            {"conditions": {"hours": {"start": "08:00", "end": "18:00", "zone": "Mars/Base"}}},
            400,
            "conditions.hours.zone",
        ),
        ({"conditions": {"hours": {"start": "08:00", "end": "18:00", "zone": "../x"}}}, 400, "conditions.hours.zone"),
        ({"conditions": {"not_after": "2026-12-01T00:00:00"}}, 400, "conditions.not_after"),
        ({"conditions": {"days": ["mon", "someday"]}}, 400, "conditions.days[1]"),
        ({"conditions": {"weather": "fine"}}, 400, "conditions.weather"),
        ({"conditions": {"networks": [f"10.0.{n}.0/24" for n in range(150)]}}, 400, "conditions"),
        ({"effect": "maybe"}, 400, "effect"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(
    shared: Door, change: dict[str, Any], status: int, field: str
) -> None:
    """The field is named, and what would be allowed; nothing is stored."""
    answer = shared.ask("alice", "POST", "/grants", {**WRITER, **change})
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (status, field), answer


@pytest.mark.parametrize(
    ("who", "resource", "status"),
    [
        ("alice", "", 403),
        ("alice", "*", 403),
        ("alice", "pr*", 403),
        ("alice", "lost", 403),
        ("alice", "priv/*", 201),
        ("alice", "priv", 201),
        ("carol", "priv", 403),
        ("dora", "priv/app", 403),
        ("bob", "priv/app", 403),
        ("admin", "", 201),
        ("admin", "*/app", 201),
        ("admin", "none/app", 201),
    ],
)
def test_who_may_give(door: Door, who: str, resource: str, status: int) -> None:
    """Whoever owns what it is on; patterns across namespaces and the registry are for administrators."""
    answer = door.ask(who, "POST", "/grants", {**WRITER, "resource": resource, "role": "reader"})
    assert answer.status == status, answer
    assert door.ask(who, "GET", f"/grants?resource={resource}").status == (200 if status == 201 else 403)


def test_nobody_gives_what_they_do_not_have(door: Door) -> None:
    """Who may give roles on one repository, and pull, makes readers, not owners."""
    door.send("alice", "POST", "/grants", {**WRITER, "role": "", "actions": ["pull", "repository.admin"]})
    assert door.ask("bob", "POST", "/grants", {**WRITER, "subject": "user:carol", "role": "reader"}).status == 403
    pull = {**WRITER, "subject": "user:carol", "role": "", "actions": ["pull"]}
    assert door.ask("bob", "POST", "/grants", pull).status == 201
    refused = door.ask("bob", "POST", "/grants", {**WRITER, "subject": "user:bob", "role": "owner"})
    assert refused.status == 403
    assert "you may not push here" in refused.json["errors"][0]["detail"]["reasons"]
    assert door.ask("bob", "POST", "/grants", {**pull, "effect": "deny", "actions": ["push"]}).status == 201


def test_a_token_gives_only_what_it_covers(door: Door) -> None:
    """A pull token of an owner gives nothing."""
    token = door.world.token("alice", "repository:priv/app:pull")
    answer = door.client(token=token).request("GET", "/api/v1/grants?resource=priv")
    assert (answer.status, "insufficient" in answer["www-authenticate"] or answer.status == 401) == (401, True)


def test_grants_of_others_are_not_there(door: Door) -> None:
    """A number that is somebody else's, that is none, or that is no number: the same 404."""
    made = door.send("alice", "POST", "/grants", WRITER)
    there = door.ask("bob", "GET", f"/grants/{made['id']}")
    absent = door.ask("bob", "GET", "/grants/999999")
    assert there.status == absent.status == 404
    assert there.body.replace(str(made["id"]).encode(), b"999999") == absent.body
    assert door.ask("bob", "GET", "/grants/one").status == door.ask("bob", "DELETE", "/grants/-1").status == 404


def test_tags_and_networks_narrow(door: Door) -> None:
    """A push of one kind of tag from one network, and a denial that beats the role of an owner."""
    narrow = {**WRITER, "tags": "dev-*", "conditions": {"networks": ["198.51.100.0/24"]}}
    door.send("alice", "POST", "/grants", narrow)
    bob, other = door.world.client("bob"), image((b"another",))
    for content in other.blobs:
        push_blob(bob, PRIVATE, content)
    assert put_manifest(bob, PRIVATE, other, "dev-1").status == 201
    refused = put_manifest(bob, PRIVATE, other, "v1")
    assert refused.status == 403
    assert "only for tags like dev-*" in refused.json["errors"][0]["message"]
    outside = bob.with_scope(client=("192.0.2.1", 1))
    assert outside.request("GET", "/v2/priv/app/manifests/dev-1").status == 404

    door.send(
        "alice",
        "POST",
        "/grants",
        {"subject": "everyone", "resource": "priv/**", "role": "", "actions": ["tag.delete"], "effect": "deny"},
    )
    denied = door.world.client("alice").request("DELETE", "/v2/priv/app/manifests/dev-1")
    assert (denied.status, "is denied on priv/**" in denied.json["errors"][0]["message"]) == (403, True)


def test_a_question_is_answered_with_reasons(door: Door) -> None:
    """About oneself anybody asks; about others whoever owns the namespace; a supposed grant changes nothing."""
    own = door.send("carol", "POST", "/access/check", {"action": "push", "resource": "priv/app"})
    assert (own["allowed"], own["reasons"][1], own["supposed"]) == (False, "carol has reader there", None)
    ask = {"action": "push", "resource": "priv/app", "who": "bob"}
    assert door.ask("carol", "POST", "/access/check", ask).status == 403
    suppose = {**ask, "suppose": WRITER}
    verdict = door.send("alice", "POST", "/access/check", suppose)
    assert (verdict["allowed"], verdict["supposed"]["allowed"]) == (False, True)
    assert verdict["supposed"]["reasons"] == ["writer on priv/app (grant 0)"]
    assert not door.send("alice", "POST", "/access/check", ask)["allowed"]
    given = {**WRITER, "role": "", "actions": ["push"], "effect": "deny"}
    door.send("alice", "POST", "/grants", WRITER)
    verdict = door.send("alice", "POST", "/access/check", {**ask, "suppose": given})
    assert (verdict["allowed"], verdict["supposed"]["allowed"]) == (True, False)


@pytest.mark.parametrize(
    ("who", "action", "resource", "reasons"),
    [
        ("alice", "push", "priv/app", ["owner of priv"]),
        ("admin", "push", "priv/app", ["instance administrator"]),
        ("bob", "push", "bob/app", ["their own name"]),
        ("", "pull", "pub/app", ["public"]),
        ("carol", "pull", "priv/app:v1", ["reader on priv (grant 1)"]),
    ],
)
def test_what_allows_is_told(shared: Door, who: str, action: str, resource: str, reasons: list[str]) -> None:
    """The office, ownership, visibility, and the grants with their numbers."""
    verdict = shared.send("admin", "POST", "/access/check", {"action": action, "resource": resource, "who": who})
    assert (verdict["allowed"], verdict["reasons"]) == (True, reasons)


def test_a_team_has_what_it_was_given(door: Door) -> None:
    """Its members have it, an organisation itself is nobody who could, and its grant is shown by both names."""
    now, bob = door.world.clock.now(), door.world.ids["bob"]

    async def record(tx: Tx) -> None:
        acme = await accounts.add_faceless(tx, accounts.Faceless("acme", "organisation"), now)
        await tx.execute("insert into team (organisation, name, created_at) values ($1, 'devs', 0)", acme)
        team = await teams.find_team_id(tx, "acme", "devs")
        await tx.execute("insert into team_member (team, account, added_at) values ($1, $2, 0)", team, bob)
        await policy.bump_policy_version(tx)

    door.world.transact(record)
    made = door.send("alice", "POST", "/grants", {**WRITER, "subject": "team:acme/devs", "resource": "priv"})
    assert made["subject"] == "team:acme/devs"
    assert door.world.client("bob").request("GET", "/v2/priv/app/tags/list").status == 200
    found = door.send("alice", "GET", "/access/able?action=push&resource=priv/app")["able"]
    (bob_is,) = [each for each in found if each["who"] == "bob"]
    assert bob_is["through"] == [f"writer on priv of a team (grant {made['id']})"]
    assert "acme" not in [each["who"] for each in found]


def test_a_role_of_ones_own_is_given(door: Door) -> None:
    """It gives its actions and no others, and its owner must have them."""
    door.send("admin", "POST", "/roles", {"name": "tagger", "actions": ["pull", "tag.move"]})
    made = door.send("alice", "POST", "/grants", {**WRITER, "role": "tagger"})
    assert made["role"] == "tagger"
    ask = {"resource": "priv/app:latest", "who": "bob"}
    verdicts = {
        action: door.send("alice", "POST", "/access/check", {**ask, "action": action})["allowed"]
        for action in ("pull", "tag.move", "tag.create", "push")
    }
    assert verdicts == {"pull": True, "tag.move": True, "tag.create": False, "push": False}
    assert door.ask("admin", "DELETE", "/roles/tagger").status == 409


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ({"action": "fly", "resource": "priv"}, 400),
        ({"action": "push", "resource": "priv", "who": "ghost"}, 404),
        ({"action": "push", "resource": "priv", "suppose": {**WRITER, "role": "king"}}, 409),
        ({"action": "push", "resource": "priv", "at": "2026-11-25T10:00:00"}, 400),
        ({"action": "push", "resource": "priv", "address": "10.0.0.0/8"}, 400),
        ({"action": "push", "resource": "ACME/..//x"}, 400),
        ({"action": "push", "resource": "priv/*"}, 400),
    ],
)
def test_questions_that_make_no_sense(shared: Door, question: dict[str, Any], status: int) -> None:
    """They are refused with what is wrong."""
    assert shared.ask("admin", "POST", "/access/check", question).status == status


def test_place_and_time_are_part_of_a_question(door: Door) -> None:
    """Conditions are judged for the address and the moment that are asked about."""
    conditions = {"networks": ["10.0.0.0/8"], "not_after": "2026-12-01T00:00:00Z"}
    door.send("alice", "POST", "/grants", {**WRITER, "conditions": conditions})
    ask = {"action": "push", "resource": "priv/app", "who": "bob"}
    inside = {**ask, "address": "10.1.2.3", "at": "2026-11-30T00:00:00Z"}
    assert door.send("alice", "POST", "/access/check", inside)["allowed"]
    late = door.send("alice", "POST", "/access/check", {**inside, "at": "2026-12-02T00:00:00Z"})
    assert any("only until 2026-12-01" in reason for reason in late["reasons"])
    assert not door.send("alice", "POST", "/access/check", ask)["allowed"]


def test_a_refusal_can_be_asked_about(door: Door) -> None:
    """Whoever owns the namespace reads the reasons, whoever was refused no more than they were told, others nothing."""
    carol = door.world.client("carol")
    refused = carol.request("POST", "/v2/priv/app/blobs/uploads/")
    detail = refused.json["errors"][0]["detail"]
    denial = refused["entrepot-denial"]
    assert (detail["denial"], detail["reasons"][1]) == (denial, "carol has reader there")
    assert carol.request("POST", "/v2/priv/app/blobs/uploads/")["entrepot-denial"] == denial
    for _ in range(2):
        found = door.send("alice", "GET", f"/denials/{denial}")
        assert (found["who"], found["action"], found["resource"], found["count"]) == ("carol", "push", "priv/app", 2)
        assert (found["reasons"], found["address"]) == (detail["reasons"], "198.51.100.7")
        assert door.send("carol", "GET", f"/denials/{denial}")["reasons"] == []
        assert door.ask("bob", "GET", f"/denials/{denial}").status == 404
        door.world.run(store_denials(door.world.registry, door.world.context.denials))
    carol.request("POST", "/v2/priv/app/blobs/uploads/")
    door.world.run(store_denials(door.world.registry, door.world.context.denials))
    assert door.send("alice", "GET", f"/denials/{denial}")["count"] == 3


def test_hidden_refusals_have_an_id_that_says_nothing(door: Door) -> None:
    """A stranger's 404 and an anonymous 401 carry it as a header; the owner learns what it was about."""
    hidden = door.world.client("bob").request("GET", "/v2/priv/app/manifests/latest")
    assert (hidden.status, "denial" in hidden.json["errors"][0]["detail"]) == (404, False)
    found = door.send("alice", "GET", f"/denials/{hidden['entrepot-denial']}")
    assert (found["who"], found["resource"]) == ("bob", "priv/app:latest")
    anonymous = door.world.client().request("GET", "/v2/priv/app/manifests/latest")
    assert anonymous.status == 401
    assert door.send("alice", "GET", f"/denials/{anonymous['entrepot-denial']}")["who"] == ""
    from_api = door.ask("bob", "PATCH", "/namespaces/priv", {"visibility": "public"})
    assert door.send("alice", "GET", f"/denials/{from_api['entrepot-denial']}")["action"] == "namespace.admin"
    made = door.ask("bob", "POST", "/namespaces", {"name": "mine"})
    assert made["entrepot-denial"]
    missing = door.world.client("bob").request("GET", "/v2/pub/none/tags/list")
    assert (missing.status, bool(missing["entrepot-denial"])) == (404, True)


def test_old_refusals_are_forgotten(door: Door) -> None:
    """After thirty days, by a job; until then they are kept."""
    refused = door.world.client("carol").request("POST", "/v2/priv/app/blobs/uploads/")["entrepot-denial"]
    door.world.run(store_denials(door.world.registry, door.world.context.denials))
    door.world.clock.advance(seconds=29 * 86_400)
    assert door.world.run(expire_denials(door.world.registry)) == 0
    door.world.clock.advance(seconds=2 * 86_400)
    assert door.world.run(expire_denials(door.world.registry)) == 1
    with pytest.raises(Unknown):
        door.world.run(get_denial(door.world.registry, DenialLog(b""), door.world.caller("alice"), refused))


def test_a_flood_of_refusals_is_bounded() -> None:
    """A thousand different ones, and then twenty a second: the others still have ids, and are not kept."""
    log = DenialLog(b"key")
    caller = Caller(Identity(1, "bob"), None, Origin("192.0.2.1"))

    def flood(now: int) -> int:
        ids = {log.note(caller, (Action.PULL, f"acme/{now}/{number}"), ("no",), now) for number in range(MOST_HELD + 5)}
        assert len(ids) == MOST_HELD + 5
        return len(log.take())

    start = 1_790_000_000_000_000
    assert flood(start) == MOST_HELD
    assert flood(start) == 0
    assert flood(start + 2_000_000) == 2 * NEW_A_SECOND
    assert flood(start + 90_000_000) == MOST_HELD


def test_refusals_wait_for_a_database_that_is_away(door: Door) -> None:
    """What cannot be stored is not lost: it is stored later, with what has come since."""
    registry, log = door.world.registry, DenialLog(b"key")
    caller = Caller(Identity(1, "bob"), None, Origin("192.0.2.1"))

    class Away(FaultyDatabase):
        """Nothing is written, and meanwhile the same is refused once more, and something else."""

        def transact(self, work: Any, **how: bool) -> Any:
            log.note(caller, (Action.PULL, "priv/app"), ("no",), 30)
            raise Unavailable("the database cannot be reached now")

    for resource in ("priv/app", "priv/other"):
        log.note(caller, (Action.PULL, resource), ("no",), 10)
    with pytest.raises(Unavailable):
        door.world.run(store_denials(replace(registry, database=Away(registry.database, Saboteur())), log))
    door.world.run(store_denials(registry, log))
    rows = door.world.rows("select resource, first_at, last_at, count from denial order by resource")
    assert rows == [("priv/app", 10, 30, 2), ("priv/other", 10, 10, 1)]


def test_the_newest_refusals_are_kept(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """However new they are, no more than a number of them."""
    monkeypatch.setattr("entrepot.core.denials.MOST_KEPT", 3)
    carol = door.world.client("carol")
    for number in range(5):
        door.world.clock.advance(seconds=1)
        carol.request("POST", f"/v2/priv/app{number}/blobs/uploads/")
    door.world.run(store_denials(door.world.registry, door.world.context.denials))
    assert door.world.run(expire_denials(door.world.registry)) == 2
    left = door.world.rows("select resource from denial order by resource")
    assert left == [("priv/app2",), ("priv/app3",), ("priv/app4",)]


def test_whoever_administers_gives_themselves_nothing(door: Door) -> None:
    """Members, owners and secrets of machines are other ways to the same: none of them is open to who has no more."""
    door.send("alice", "POST", "/service-accounts", {"name": "ci", "namespace": "priv"})
    new = {"subject": "user:bob", "resource": "priv", "actions": ["pull", "namespace.admin", "repository.admin"]}
    door.send("alice", "POST", "/grants", new)
    for method, path, document in (
        ("PUT", "/namespaces/priv/members/bob", {"role": "owner"}),
        ("PUT", "/repositories/priv%2Fapp/members/bob", {"role": "writer"}),
        ("PATCH", "/namespaces/priv", {"owner": "bob"}),
        ("POST", "/service-accounts/robot$priv+ci/secrets", {"name": "mine"}),
        ("POST", "/grants", {"subject": "user:bob", "resource": "priv/**", "role": "writer"}),
    ):
        answer = door.ask("bob", method, path, document)
        assert (answer.status, "cannot" in answer.body.decode() or "do not have" in answer.body.decode()) == (403, True)
    assert door.send("bob", "PATCH", "/namespaces/priv", {"visibility": "public"})["visibility"] == "public"


@pytest.mark.parametrize("action", ["pull", "push", "delete", "namespace.admin", "namespace.create", "tag.move"])
def test_questions_tell_strangers_no_more_than_requests(door: Door, action: str) -> None:
    """What is hidden, denied, conditional or not there: the same no, in a private and in an open namespace."""
    door.push("pub/hidden", image(), "latest")
    door.world.set_visibility("pub/hidden", "private")
    for resource in ("priv", "priv/app", "pub/hidden"):
        denial = {"subject": "everyone", "resource": resource, "role": "owner", "effect": "deny"}
        door.send("alice", "POST", "/grants", denial)
    inside = {**WRITER, "resource": "priv/web", "conditions": {"networks": ["203.0.113.0/24"]}}
    door.send("alice", "POST", "/grants", inside)

    def said(resource: str) -> str:
        answer = door.ask("bob", "POST", "/access/check", {"action": action, "resource": resource})
        assert answer.json["allowed"] is False
        return answer.body.decode().replace(resource, "<name>").replace(resource.partition("/")[0], "<namespace>")

    assert said("priv/app") == said("priv/none") == said("none/none") == said("priv/web")
    assert said("priv") == said("none")
    assert said("pub/hidden") == said("pub/none")


def test_refusals_tell_strangers_of_no_denial(door: Door) -> None:
    """Words of a denial would tell that there is something to deny."""
    door.send(
        "alice", "POST", "/grants", {"subject": "everyone", "resource": "priv", "role": "owner", "effect": "deny"}
    )
    for method, path, document in (
        ("PATCH", "/namespaces/{}", {"visibility": "public"}),
        ("GET", "/grants?resource={}", None),
        ("GET", "/access/able?action=pull&resource={}", None),
        ("POST", "/service-accounts", {"name": "x", "namespace": "{}"}),
        ("PUT", "/policy", {"resources": ["{}"]}),
    ):
        bodies = set()
        for name in ("priv", "none"):
            filled = {
                key: [name] if isinstance(value, list) else value.format(name)
                for key, value in (document or {}).items()
            }
            answer = door.ask("bob", method, path.format(name), filled if document else None)
            assert answer.status == 403
            bodies.add(answer.body.decode().replace(name, "<name>"))
        assert len(bodies) == 1
    assert (
        "is denied on priv"
        in door.ask("alice", "POST", "/access/check", {"action": "push", "resource": "priv/app"}).body.decode()
    )


def test_an_address_that_nobody_knows_is_on_no_list(door: Door) -> None:
    """A proxy that writes nonsense gets through no allowing network, and past no denial of one."""
    bob = door.world.client("bob").with_scope(client=("unknown", 1))
    for conditions in ({"networks": ["0.0.0.0/0", "::/0"]}, {"not_networks": ["203.0.113.0/24"]}):
        made = door.send("alice", "POST", "/grants", {**WRITER, "conditions": conditions})
        assert bob.request("GET", "/v2/priv/app/tags/list").status == 404
        door.send("alice", "DELETE", f"/grants/{made['id']}")
    door.send("alice", "POST", "/grants", WRITER)
    assert bob.request("GET", "/v2/priv/app/tags/list").status == 200
    denial = {**WRITER, "effect": "deny", "role": "owner", "conditions": {"networks": ["203.0.113.0/24"]}}
    door.send("alice", "POST", "/grants", denial)
    assert bob.request("GET", "/v2/priv/app/tags/list").status == 404
    assert door.world.client("bob").request("GET", "/v2/priv/app/tags/list").status == 200
    mapped = door.world.client("bob").with_scope(client=("::ffff:203.0.113.9", 1))
    assert mapped.request("GET", "/v2/priv/app/tags/list").status == 404

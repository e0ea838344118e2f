"""Programs that log in by a page (RFC 8628)."""

from __future__ import annotations

import pytest

from entrepot.core import devices
from entrepot.core.accounts import PasswordChange, change_password
from tests.support.asgi import Answer
from tests.support.browser import Browser, browser_at
from tests.support.world import World, basic, password_of

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def begin(browser: Browser, **fields: str) -> dict[str, str]:
    """The codes of a program."""
    answer = browser.program("/login/device/code", {"client_id": "entrepot-cli", "machine": "laptop", **fields})
    assert answer.status == 200, answer
    return dict(answer.json)


def poll(browser: Browser, codes: dict[str, str]) -> Answer:
    """What a program is told that asks whether it may log in."""
    fields = {"grant_type": GRANT, "device_code": codes["device_code"], "client_id": "entrepot-cli"}
    return browser.program("/login/device/token", fields)


def problem(answer: Answer) -> str:
    """Why there is no token."""
    assert answer.status == 400, answer
    return str(answer.json["error"])


def decide(browser: Browser, code: str, answer: str) -> Answer:
    """Type a code and decide."""
    page = browser.submit(browser.get("/login/device"), "/login/device", code=code)
    assert page.status == 200, page
    return browser.submit(page, "/login/device/confirm", answer=answer)


def test_a_program_logs_in_once(world: World) -> None:
    """Shown, typed, confirmed: the program has a token of that user, and nobody gets it a second time."""
    person = browser_at(world)
    codes = begin(person, scope="admin")
    assert codes["verification_uri_complete"] == f"http://registry.test/login/device?code={codes['user_code']}"
    assert (codes["expires_in"], codes["interval"]) == (600, 5)
    assert problem(poll(person, codes)) == "authorization_pending"
    person.sign_in("alice")
    page = person.submit(
        person.get("/login/device"), "/login/device", code=codes["user_code"].lower().replace("-", " ")
    )
    shown = page.body.decode()
    assert all(
        word in shown
        for word in ("laptop", "198.51.100.7", "entrepot-cli", codes["user_code"], "administration included")
    )
    assert "another address" not in shown
    assert person.submit(page, "/login/device/confirm", answer="approve").status == 200
    world.clock.advance(seconds=5)
    made = poll(person, codes)
    assert made.status == 200, made
    assert (made.json["username"], made.json["token_type"], made["cache-control"]) == ("alice", "Bearer", "no-store")
    client = world.client().with_headers(authorization=basic("alice", made.json["access_token"]))
    assert client.request("GET", "/v2/").status == 200
    assert problem(poll(person, codes)) == "expired_token"
    assert world.rows("select count(*) from device_code") == [(0,)]
    kinds = [kind for (kind,) in world.rows("select kind from event where actor = 'alice' order by id")]
    assert kinds == ["session.opened", "device.approved", "credential.created"]


def test_whoever_is_not_signed_in_signs_in_first(world: World) -> None:
    """The link with the code leads to the sign-in page and from there back, with the code filled in."""
    person = browser_at(world)
    codes = begin(person)
    path = codes["verification_uri_complete"].removeprefix("http://registry.test")
    away = person.get(path)
    assert away.status == 303
    back = person.sign_in("alice", away["location"])
    assert back["location"] == path
    assert f'value="{codes["user_code"]}"' in person.get(path).body.decode()
    other = browser_at(world)
    assert other.get("/login/device")["location"] == "/login?next=%2Flogin%2Fdevice"
    assert other.submit(other.get("/login"), "/login/device", code=codes["user_code"]).status == 400


def test_a_refused_program_gets_nothing(world: World) -> None:
    """Whoever says no is obeyed; the program hears it once, and the code cannot be decided again."""
    person = browser_at(world)
    codes = begin(person)
    person.sign_in("alice")
    assert "refused" in decide(person, codes["user_code"], "deny").body.decode()
    again = person.submit(person.get("/login/device"), "/login/device", code=codes["user_code"])
    assert again.status == 404
    assert problem(poll(person, codes)) == "access_denied"
    assert problem(poll(person, codes)) == "expired_token"


def test_two_people_decide_once(world: World) -> None:
    """What somebody has decided while another one looked stays decided."""
    alice, bob = browser_at(world), browser_at(world)
    codes = begin(alice)
    alice.sign_in("alice")
    bob.sign_in("bob")
    page = bob.submit(bob.get("/login/device"), "/login/device", code=codes["user_code"])
    decide(alice, codes["user_code"], "approve")
    assert bob.submit(page, "/login/device/confirm", answer="approve").status == 404
    assert poll(alice, codes).json["username"] == "alice"


def test_codes_run_out(world: World) -> None:
    """After ten minutes neither half of a code is worth anything."""
    person = browser_at(world)
    codes = begin(person)
    person.sign_in("alice")
    world.clock.advance(seconds=601)
    assert person.submit(person.get("/login/device"), "/login/device", code=codes["user_code"]).status == 404
    assert problem(poll(person, codes)) == "expired_token"
    begin(person)
    assert world.rows("select count(*) from device_code") == [(1,)]


def test_whoever_asks_too_often_is_slowed_down(world: World) -> None:
    """Each question that comes too early makes the pause five seconds longer."""
    person = browser_at(world)
    codes = begin(person)
    assert problem(poll(person, codes)) == "authorization_pending"
    world.clock.advance(seconds=2)
    assert problem(poll(person, codes)) == "slow_down"
    world.clock.advance(seconds=6)
    assert problem(poll(person, codes)) == "slow_down"
    world.clock.advance(seconds=16)
    assert problem(poll(person, codes)) == "authorization_pending"


def test_guessing_ends(world: World) -> None:
    """After ten codes that were not there, a session types no more, not even a right one."""
    person = browser_at(world)
    codes = begin(person)
    person.sign_in("alice")
    for _ in range(devices.MOST_MISSES):
        assert person.submit(person.get("/login/device"), "/login/device", code="BBBB-BBBB").status == 404
    answer = person.submit(person.get("/login/device"), "/login/device", code=codes["user_code"])
    assert (answer.status, "retry-after" in answer) == (429, True)


def test_waiting_programs_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network has twenty of them at most, an IPv6 /64 counting as one, and all together have a limit."""
    for number in range(devices.MOST_OF_A_NETWORK):
        begin(browser_at(world, f"2001:db8::{number + 1:x}"))
    full = browser_at(world, "2001:db8::ffff").program("/login/device/code", {})
    assert (full.status, full.json["error"], "retry-after" in full) == (429, "temporarily_unavailable", True)
    begin(browser_at(world, "2001:db8:1::1"))
    monkeypatch.setattr(devices, "MOST_OPEN", 5)
    assert browser_at(world, "192.0.2.1").program("/login/device/code", {}).status == 429


def test_a_site_does_not_use_up_what_is_there_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a /48 of IPv6 has 65,536 networks, and all of them together have a limit of their own."""
    monkeypatch.setattr(devices, "MOST_OF_A_SITE", 5)
    for number in range(5):
        begin(browser_at(world, f"2001:db8:1:{number:x}::1"))
    assert browser_at(world, "2001:db8:1:ffff::1").program("/login/device/code", {}).status == 429
    begin(browser_at(world, "2001:db8:2::1"))
    begin(browser_at(world, "192.0.2.1"))


def test_a_code_that_is_taken_is_not_given_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where chance makes the same code again, the program is asked to try again."""
    monkeypatch.setattr(devices, "new_user_code", lambda: "BBBB-BBBB")
    begin(browser_at(world))
    assert browser_at(world).program("/login/device/code", {}).status == 429


def test_a_password_changed_meanwhile_voids_the_approval(world: World) -> None:
    """What was approved before the password changed gives no token after it."""
    person = browser_at(world)
    codes = begin(person)
    person.sign_in("alice")
    decide(person, codes["user_code"], "approve")
    world.clock.advance(seconds=1)
    change = PasswordChange("another-password", password_of("alice"))
    world.run(change_password(world.registry, world.caller("alice"), "alice", change))
    assert problem(poll(person, codes)) == "access_denied"


def test_another_address_is_told(world: World) -> None:
    """A person sees when the program is somewhere else than they are, and names that could deceive are cleaned."""
    program, person = browser_at(world, "203.0.113.9"), browser_at(world)
    codes = begin(program, machine="<b>bank</b>\u202e")
    person.sign_in("alice")
    page = person.submit(person.get("/login/device"), "/login/device", code=codes["user_code"]).body.decode()
    assert "another address" in page
    assert "<b>" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/login/device/code", {"scope": "everything"}),
        ("/login/device/token", {"grant_type": "password"}),
        ("/login/device/token", {}),
    ],
)
def test_bad_requests_of_programs_are_json(world: World, path: str, fields: dict[str, str]) -> None:
    """A program that asks for what there is not gets an error as OAuth has it."""
    answer = browser_at(world).program(path, fields)
    assert (answer.status, answer.json["error"], answer["content-type"]) == (400, "invalid_request", "application/json")


def test_an_unknown_code_is_one_that_ran_out(world: World) -> None:
    """Nobody learns by asking which codes there are."""
    for code in ("", "x", "A" * 43):
        assert problem(poll(browser_at(world), {"device_code": code})) == "expired_token"


def test_the_page_works_in_another_worker(world: World) -> None:
    """A program and a person need not meet the same process."""
    from entrepot.web.face import WebFace  # noqa: PLC0415

    person = browser_at(world)
    codes = begin(person)
    person.sign_in("alice")
    other = Browser(WebFace(world.sibling_context()), world, cookies=person.cookies)
    decide(other, codes["user_code"], "approve")
    assert poll(person, codes).json["username"] == "alice"


def test_a_decision_between_looking_and_deciding(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two decisions at one moment the first counts, and the second is told so and leaves no event."""
    person = browser_at(world)
    codes = begin(person)
    person.sign_in("alice")
    page = person.submit(person.get("/login/device"), "/login/device", code=codes["user_code"])
    find = devices.find

    async def found_and_lost(*words: object) -> object:
        row = await find(*words)  # type: ignore[arg-type]
        await world.database.transact(lambda tx: tx.execute("update device_code set is_denied = 1, decided_at = 1"))
        return row

    monkeypatch.setattr(devices, "find", found_and_lost)
    answer = person.submit(page, "/login/device/confirm", answer="approve")
    assert "a moment ago" in answer.body.decode()
    assert world.rows("select count(*) from event where kind like 'device.%'") == [(0,)]

"""A password that was changed, or needs a code now, while somebody still proves it: nothing that lasts comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import pytest

from entrepot.core.accounts import PasswordChange, change_password
from entrepot.core.sign_in import Typed, sign_in
from entrepot.core.standing import AccountChange, change_account
from entrepot.domain.errors import Unauthenticated
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.metadata import accounts
from entrepot.web.face import WebFace
from entrepot.wire.face import Face
from tests.api.door import Door
from tests.api.test_totp import Authenticator
from tests.support.asgi import Answer, Client
from tests.support.browser import FORM, Browser, browser_at
from tests.support.world import World, basic, password_of
from tests.web.test_devices import begin

OFFLINE = "/token?service=registry.test&offline_token=true"


def meanwhile(world: World, change: Callable[[], Awaitable[object]]) -> None:
    """Let something change once, between reading the password of bob and having found it to be right."""
    verify, done = world.registry.hasher.verify, list[bool]()

    async def slow(encoded: str, password: str) -> bool:
        is_right = await verify(encoded, password)
        if password == password_of("bob") and not done:
            done.append(True)
            world.clock.advance(seconds=1)
            await change()
            world.clock.advance(seconds=1)
        return is_right

    world.registry.hasher.verify = slow  # type: ignore[method-assign]


async def change_bobs(world: World) -> None:
    """An administrator gives bob another password."""
    await change_password(world.registry, world.caller("admin"), "bob", PasswordChange("another-password"))


def sessions(world: World) -> int:
    """How many sessions there are."""
    return len(world.rows("select 1 from web_session"))


def test_no_session(world: World) -> None:
    """A password that is changed while it is checked opens no session, and the form says so."""
    meanwhile(world, lambda: change_bobs(world))
    answer = browser_at(world).sign_in("bob")
    assert (answer.status, sessions(world)) == (403, 0)
    assert "changed at this moment" in answer.body.decode()


def test_no_tokens(world: World) -> None:
    """Nor a refresh token, by which it would go on."""
    meanwhile(world, lambda: change_bobs(world))
    assert world.client("bob").request("GET", OFFLINE).status == 401
    assert world.client("bob").request("GET", OFFLINE).status == 401


def test_no_tokens_of_who_is_gone(world: World) -> None:
    """Nor anything for an account that is removed while its password is checked."""

    async def remove() -> None:
        await world.database.transact(lambda tx: accounts.remove_account(tx, world.ids["bob"]))
        await world.database.transact(lambda tx: tx.execute("update policy set version = version + 1"))

    meanwhile(world, remove)
    assert world.client("bob").request("GET", OFFLINE).status == 401


@pytest.mark.parametrize("path", ["/users/bob/tokens", "/login-password"])
def test_no_secrets(door: Door, path: str) -> None:
    """Nor a personal token or a login password."""
    meanwhile(door.world, lambda: change_bobs(door.world))
    document = {"name": "for ever"} if "tokens" in path else {}
    assert door.ask("bob", "POST", path, document).status == 401
    assert door.world.rows("select * from credential") == []


@pytest.mark.parametrize("path", ["/users/bob/tokens", "/login-password", "token", "session"])
def test_nothing_of_who_is_disabled(door: Door, path: str) -> None:
    """Nor anything, good once they are enabled again, for whoever is disabled while their password is checked."""
    registry, admin = door.world.registry, door.world.caller("admin")
    meanwhile(door.world, lambda: change_account(registry, admin, "bob", AccountChange(is_disabled=True)))
    if path == "session":
        answer = browser_at(door.world).sign_in("bob")
    elif path == "token":
        answer = door.world.client("bob").request("GET", OFFLINE)
    else:
        answer = door.ask("bob", "POST", path, {"name": "for ever"} if "tokens" in path else {})
    assert answer.status == (403 if path == "session" else 401)
    assert (sessions(door.world), door.world.rows("select * from credential")) == (0, [])


def test_what_was_made_just_before_ends(world: World) -> None:
    """A refresh token and a session of the moment before a password is changed, while it is hashed, end with it."""
    client, browser, made = world.client("bob"), browser_at(world), list[Answer]()
    hashing = world.registry.hasher.hash

    async def slow(password: str) -> str:
        world.clock.advance(seconds=1)
        made.append(await client.exchange("GET", OFFLINE))
        encoded = await hashing(password)
        world.clock.advance(seconds=1)
        return encoded

    world.registry.hasher.hash = slow  # type: ignore[method-assign]
    assert browser.sign_in("bob").status == 303
    world.run(change_bobs(world))
    (answer,) = made
    assert refreshed(world, answer.json["refresh_token"]).status == 401
    assert "You are" not in browser.get("/login").body.decode()


def refreshed(world: World, token: str) -> Answer:
    """What a refresh token gets."""
    fields = {"grant_type": "refresh_token", "refresh_token": token, "service": "registry.test"}
    return world.client().request("POST", "/token", urlencode(fields).encode(), content_type=FORM)


def test_another_worker_has_not_heard_yet(door: Door) -> None:
    """What it remembers of the password alone opens neither a session nor a token once codes are asked for."""
    context = door.world.sibling_context()
    tokens = Client(Face(context, GRAMMAR), door.world.runner, {"authorization": basic("bob", password_of("bob"))})
    browser = Browser(WebFace(context), door.world)
    assert (tokens.request("GET", OFFLINE).status, browser.sign_in("bob").status) == (200, 303)
    door.world.clock.advance(seconds=1)
    Authenticator(door, "bob").confirm()
    assert tokens.request("GET", OFFLINE).status == 401
    answer = Browser(WebFace(context), door.world).sign_in("bob")
    assert (answer.status, sessions(door.world)) == (403, 1)
    assert "code" in answer.body.decode()


def test_a_code_does_not_make_an_old_password_good(door: Door) -> None:
    """A right code with the password that was changed while it was checked opens nothing, and is not used up."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    meanwhile(door.world, lambda: change_bobs(door.world))
    code, context = carried.code(), door.world.context
    with pytest.raises(Unauthenticated, match="changed at this moment"):
        door.world.run(sign_in(door.world.registry, context.genuine, Typed("bob", password_of("bob"), code)))
    assert (
        door.ask("", "GET", "/whoami", authorization=basic("bob", "another-password"), entrepot_otp=code).status == 200
    )


def test_a_session_that_ends_approves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device is not approved by a session that has ended since the page looked at it."""
    person = browser_at(world)
    codes = begin(person)
    person.sign_in("bob")
    look = world.registry.database.transact

    async def change_first(*words: object, **more: object) -> object:
        found = await look(*words, **more)  # type: ignore[arg-type]
        monkeypatch.undo()
        world.clock.advance(seconds=1)
        await change_bobs(world)
        return found

    page = person.submit(person.get("/login/device"), "/login/device", code=codes["user_code"])
    monkeypatch.setattr(world.registry.database, "transact", change_first)
    answer = person.submit(page, "/login/device/confirm", answer="approve")
    assert (answer.status, "not signed in any more" in answer.body.decode()) == (404, True)
    assert world.rows("select decided_at from device_code") == [(None,)]

"""Signing in and out with a password, as a browser does it."""

from __future__ import annotations

import json

import pytest

from entrepot.core.accounts import PasswordChange, change_password, remove_account
from entrepot.core.sessions import MOST_SESSIONS, Browser, close_session, find_session, open_session
from entrepot.domain.errors import Denied
from entrepot.wire.bodies import Limits
from tests.support.asgi import Client
from tests.support.browser import FORM, browser_at
from tests.support.world import World, password_of

ACCOUNT = "You are signed in"


def test_a_password_opens_a_session(world: World) -> None:
    """The form leads to a session, whose cookie opens the page of the account until somebody signs out."""
    browser = browser_at(world)
    answer = browser.sign_in("alice")
    assert (answer.status, answer["location"]) == (303, "/login")
    page = browser.get("/login")
    assert ACCOUNT in page.body.decode()
    assert "<strong>alice</strong>" in page.body.decode()
    kept = dict(browser.cookies)
    assert browser.submit(page, "/logout").status == 303
    assert "entrepot" not in browser.cookies
    browser.cookies = kept
    assert ACCOUNT not in browser.get("/login").body.decode()
    events = world.rows("select kind, actor, detail from event where kind like 'session.%' order by id")
    assert [(kind, actor) for kind, actor, _ in events] == [("session.opened", "alice"), ("session.closed", "alice")]
    assert json.loads(events[0][2]) == {"by": "password", "address": "198.51.100.7"}


def test_what_the_database_holds_opens_nothing(world: World) -> None:
    """Only a hash of the cookie is stored."""
    browser = browser_at(world)
    browser.sign_in("alice")
    ((stored,),) = world.rows("select fingerprint from web_session")
    assert browser.cookies["entrepot"] not in stored
    browser.cookies["entrepot"] = stored
    assert ACCOUNT not in browser.get("/login").body.decode()


@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("nobody", "wrong"), ("", ""), ("ali<b>ce", "x")])
def test_wrong_passwords_and_unknown_users_look_alike(world: World, name: str, password: str) -> None:
    """Whatever is wrong, the page is the same but for the name that was typed, which is escaped."""
    browser = browser_at(world)
    page = browser.submit(browser.get("/login"), "/login", name=name, password=password)
    assert page.status == 403
    assert "wrong user name or password" in page.body.decode()
    assert "<b>" not in page.body.decode()
    assert "entrepot" not in browser.cookies


@pytest.mark.parametrize(
    "goal",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\r\nx: y", "/" + "a" * 400],
)
def test_nobody_is_sent_elsewhere(world: World, goal: str) -> None:
    """A goal that is no path of ours is left out, from the address and from the form."""
    browser = browser_at(world)
    page = browser.get("/login")
    answer = browser.submit(page, "/login", name="alice", password=password_of("alice"), next=goal)
    assert answer["location"] == "/login"


def test_a_path_of_ours_is_kept(world: World) -> None:
    """Whoever wanted a page comes to it."""
    browser = browser_at(world)
    answer = browser.sign_in("alice", "/login?next=%2Flogin%2Fdevice%3Fcode%3DWDJB-MJHT")
    assert answer["location"] == "/login/device?code=WDJB-MJHT"


def test_forms_of_others_are_refused(world: World) -> None:
    """Without the field of our form, with that of another browser, or from another site, nothing is done."""
    browser, other = browser_at(world), browser_at(world)
    fields = {"name": "alice", "password": password_of("alice")}
    assert browser.post("/login", fields).status == 403
    theirs = other.get("/login")
    browser.get("/login")
    assert browser.submit(theirs, "/login", **fields).status == 403
    page = browser.get("/login")
    hidden = page.body.decode().partition('name="csrf" value="')[2].partition('"')[0]
    assert browser.post("/login", {**fields, "csrf": hidden}, sec_fetch_site="cross-site").status == 403
    assert browser.post("/login", {**fields, "csrf": hidden}, sec_fetch_site="same-origin").status == 303
    assert browser.post("/logout", {}).status == 403


def test_a_new_password_ends_sessions(world: World) -> None:
    """After a password has changed, and after an account was removed, the cookie opens nothing."""
    browser = browser_at(world)
    browser.sign_in("alice")
    world.clock.advance(seconds=1)
    change = PasswordChange("another-password", password_of("alice"))
    world.run(change_password(world.registry, world.caller("alice"), "alice", change))
    assert ACCOUNT not in browser.get("/login").body.decode()
    browser.cookies.clear()
    browser.sign_in("bob")
    assert ACCOUNT in browser.get("/login").body.decode()
    world.run(remove_account(world.registry, world.caller("admin"), "bob"))
    assert ACCOUNT not in browser.get("/login").body.decode()


def test_sessions_end(world: World) -> None:
    """After its hours a session is over; while it lasts, that it was seen is noted once a minute."""
    browser = browser_at(world)
    browser.sign_in("alice")
    world.clock.advance(seconds=61)
    browser.get("/login")
    browser.get("/login")
    ((created, seen),) = world.rows("select created_at, seen_at from web_session")
    assert seen - created == 61_000_000
    world.clock.advance(seconds=12 * 3600)
    assert ACCOUNT not in browser.get("/login").body.decode()


def test_sessions_are_bounded(world: World) -> None:
    """Of more than fifty sessions of one account, the oldest end."""
    first = browser_at(world)
    first.sign_in("alice")
    for _ in range(MOST_SESSIONS):
        browser_at(world).sign_in("alice")
    assert world.rows("select count(*) from web_session") == [(MOST_SESSIONS,)]
    assert ACCOUNT not in first.get("/login").body.decode()


def test_cookies_over_https_are_locked_to_the_host(world: World) -> None:
    """Over https, cookies have the prefix that no other host of the domain can set, and are sent over https only."""
    browser = browser_at(world)
    browser.scheme = "https"
    answer = browser.sign_in("alice")
    cookies = [value for name, value in answer.pairs if name == "set-cookie"]
    assert any(cookie.startswith("__Host-entrepot=") for cookie in cookies)
    assert all("; Secure" in cookie for cookie in cookies)


def test_protocols_ignore_cookies(world: World) -> None:
    """A session opens no repository and no token: cookies are for pages."""
    browser = browser_at(world)
    browser.sign_in("alice")
    client = Client(world.face, world.runner, {"cookie": f"entrepot={browser.cookies['entrepot']}"})
    assert client.request("GET", "/v2/").status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/login/nothing", 404),
        ("DELETE", "/login", 405),
        ("GET", "/login/oidc//callback", 404),
        ("HEAD", "/login", 200),
    ],
)
def test_paths_and_methods(world: World, method: str, path: str, status: int) -> None:
    """What is no page is 404, what a page does not do is 405 with what it does."""
    answer = Client(browser_at(world).face, world.runner).request(method, path)
    assert answer.status == status
    assert (status == 405) == ("allow" in answer)


def test_the_style_is_served(world: World) -> None:
    """The one thing that pages load comes from here, and may be kept."""
    answer = browser_at(world).get("/static/style.css")
    assert (answer.status, answer["content-type"]) == (200, "text/css; charset=utf-8")
    assert "max-age" in answer["cache-control"]


@pytest.mark.parametrize("body", [b"\xff", b"name=%00&password=x", b"&".join(b"a=1" for _ in range(99))])
def test_unreadable_forms(world: World, body: bytes) -> None:
    """What is no form is 400."""
    client = Client(browser_at(world).face, world.runner)
    assert client.request("POST", "/login", body, content_type=FORM).status == 400


def test_large_forms_close_the_connection() -> None:
    """A form over the limit is refused, and what is still on its way is not taken for another request."""
    with World(limits=Limits(form_bytes=10)) as world:
        client = Client(browser_at(world).face, world.runner)
        assert client.request("POST", "/login", b"name=" + b"a" * 99, content_type=FORM).status == 413
        answer = client.request(
            "POST", "/login", [b"name=" + b"a" * 99], content_type=FORM, content_length="104", expect="100-continue"
        )
        assert (answer.status, answer["connection"]) == (413, "close")


def test_an_account_that_goes_at_this_moment(world: World) -> None:
    """Between the proof of a password and the session the account may be disabled: then there is no session."""
    identity = world.caller("bob").identity
    assert identity is not None
    world.transact(lambda tx: tx.execute("update account set is_disabled = 1 where name = 'bob'"))
    with pytest.raises(Denied):
        world.run(open_session(world.registry, identity, Browser("10.0.0.1", "Firefox")))
    assert world.rows("select count(*) from web_session") == [(0,)]


def test_signing_out_twice(world: World) -> None:
    """Who is signed out in another window signs out without harm, and it is one event."""
    browser = browser_at(world)
    browser.sign_in("alice")
    token = browser.cookies["entrepot"]
    session = world.run(find_session(world.registry, token))
    assert session is not None
    for _ in range(2):
        world.run(close_session(world.registry, session))
    assert world.rows("select count(*) from event where kind = 'session.closed'") == [(1,)]
    page = browser.get("/login")
    assert browser.submit(page, "/logout").status == 303
    assert world.run(find_session(world.registry, "no token")) is None


@pytest.mark.parametrize(
    "cookie", ["tracking=b,{ours}", "\xa0{ours}", "\x85{ours}", "{ours}; {ours}", "a=b;{other}; {ours}"]
)
def test_cookies_of_other_hosts_are_not_ours(world: World, cookie: str) -> None:
    """A cookie that another host of the domain may set opens no session, however it is written; nor do two at once."""
    browser = browser_at(world)
    browser.scheme = "https"
    browser.sign_in("bob")
    ours = f"__Host-entrepot={browser.cookies['__Host-entrepot']}"
    client = Client(browser.face, world.runner, scope={"scheme": "https"})

    def is_in(text: str) -> bool:
        return ACCOUNT in client.request("GET", "/login", cookie=text).body.decode()

    assert is_in(f"a=b; {ours}")
    assert not is_in(cookie.format(ours=ours, other="__Host-entrepot=" + "A" * 43))


def test_cookies_in_several_headers(world: World) -> None:
    """A browser that speaks HTTP/2 may send each cookie by itself."""
    browser = browser_at(world)
    browser.sign_in("bob")
    pairs = [(b"cookie", b"a=b"), (b"cookie", f"entrepot={browser.cookies['entrepot']}".encode())]
    client = Client(browser.face, world.runner, scope={"headers": [(b"host", b"registry.test"), *pairs]})
    assert ACCOUNT in client.request("GET", "/login").body.decode()


def test_signing_in_again_ends_the_session_before(world: World) -> None:
    """A browser has one session: what it was signed in as is over, also for whoever has the cookie of it."""
    browser = browser_at(world)
    browser.sign_in("bob")
    before = dict(browser.cookies)
    browser.sign_in("alice")
    assert world.rows("select a.name from web_session s join account a on a.id = s.account") == [("alice",)]
    browser.cookies = before
    assert ACCOUNT not in browser.get("/login").body.decode()

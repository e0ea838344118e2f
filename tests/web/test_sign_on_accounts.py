"""Accounts of a provider beside those of a directory and those with a password here: none becomes another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from entrepot.api.face import ApiFace
from entrepot.authn._providers import AskedProviders
from entrepot.core.audit import flush_audit
from entrepot.core.sign_on_providers import link, unlink
from entrepot.domain.errors import Unavailable
from entrepot.domain.federation import Issuer
from tests.support.asgi import Answer, Client
from tests.support.directory import FakeDirectory, check, secret_of
from tests.support.mail import PostOffice
from tests.support.world import basic, password_of
from tests.web.signing import NAME, Signing
from tests.web.test_sign_on_follow import check as follow
from tests.web.test_sign_on_follow import state


class Company(Signing):
    """A registry with a provider, a directory that knows frank, and a post office."""

    def __init__(self) -> None:
        self.directory, self.post = FakeDirectory(), PostOffice()
        self.directory.put("frank", number="n1")
        super().__init__(directory=self.directory, mail=self.post)

    def ask(self, method: str, path: str, document: object = None, authorization: str = "") -> Answer:
        """One exchange with the API."""
        client = Client(ApiFace(self.world.context), self.world.runner)
        headers = {"authorization": authorization} if authorization else {}
        body = b"" if document is None else json.dumps(document).encode()
        return client.request(method, f"/api/v1{path}", body, content_type="application/json", **headers)


@pytest.fixture
def company() -> Iterator[Company]:
    """A company of its own."""
    company = Company()
    yield company
    company.close()


def test_nobody_gives_such_an_account_a_password(company: Company) -> None:
    """Neither an administrator by a code nor a letter, which says where the password is instead."""
    company.sign_on(company.browser())
    admin = basic("admin", password_of("admin"))
    assert company.ask("POST", "/users/erin/reset-code", {}, admin).code == "CONFLICT"
    new = {"email": "erin@example.com", "verified": True}
    assert company.ask("PUT", "/users/erin/email", new, admin).status == 202
    assert company.ask("POST", "/password-resets", {"user": "erin"}).status == 202
    (letter,) = company.post.deliver(company.world)
    assert "you sign on with a provider" in letter.text
    assert company.world.rows("select * from mail_code") == []


def test_what_takes_a_password_that_there_is_not(company: Company) -> None:
    """Such people are told where it is, instead of being asked for one that they cannot have."""
    browser = company.browser()
    company.sign_on(browser)
    asked = browser.program("/login/device/code", {"machine": "m", "scope": "admin"}).json
    page = browser.submit(browser.get("/login/device"), "/login/device", code=asked["user_code"])
    browser.submit(page, "/login/device/confirm", answer="approve")
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    made = browser.program("/login/device/token", {"device_code": asked["device_code"], "grant_type": grant}).json
    bearer = f"Bearer {made['access_token']}"
    new = {"email": "erin@example.com", "password": "x"}
    for answer in (
        company.ask("POST", "/users/erin/totp", {"password": "x"}, bearer),
        company.ask("PUT", "/users/erin/email", new, bearer),
    ):
        assert (answer.status, answer.code) == (409, "CONFLICT")
        assert "at the provider they sign on with" in answer.json["errors"][0]["message"]


def test_whom_the_directory_lost_no_provider_brings_back(company: Company) -> None:
    """Somebody of the directory who also signs on stays out once the directory has lost them."""
    frank = basic("frank", secret_of("frank"))
    assert company.ask("GET", "/whoami", None, frank).status == 200
    company.world.run(link(company.world.registry, company.world.caller("admin"), "frank", NAME, "u-1"))
    assert company.sign_on(company.browser()).status == 303
    del company.directory.people["frank"]
    check(company.world)
    assert "disabled" in company.refused()
    assert not state(company, "frank")


def test_a_disabled_provider_renews_nothing(signing: Signing) -> None:
    """It is not asked any more, and what was opened by it ends as if nobody could be asked."""
    browser = signing.browser()
    signing.sign_on(browser)
    signing.change(is_enabled=False)
    asked = len(signing.provider.forms)
    follow(signing)
    assert state(signing)
    follow(signing, 12 * 3600)
    assert (len(signing.provider.forms), state(signing)) == (asked, False)
    assert "You are signed in" not in browser.get("/login").body.decode()
    signing.change(is_enabled=True)
    signing.sign_on(signing.browser())
    assert state(signing)


def test_names_of_the_directory_are_taken(company: Company) -> None:
    """Nobody of a provider gets the name of somebody in the directory who has not come yet, nor while it is away."""
    company.provider.person["preferred_username"] = "Frank"
    assert "is taken here" in company.refused()
    company.provider.person["preferred_username"] = "erin"
    company.directory.is_away = True
    assert "away" in company.refused()
    company.directory.is_away = False
    assert company.sign_on(company.browser()).status == 303
    company.directory.is_away = True
    assert company.sign_on(company.browser()).status == 303


def test_the_audit_log_knows_how_and_from_where(company: Company) -> None:
    """Signing on, failing to, and what a signed-in browser and a device do is recorded with address and method."""
    browser = company.browser()
    company.sign_on(browser)
    asked = browser.program("/login/device/code", {"machine": "m"}).json
    page = browser.submit(browser.get("/login/device"), "/login/device", code=asked["user_code"])
    browser.submit(page, "/login/device/confirm", answer="approve")
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    browser.program("/login/device/token", {"device_code": asked["device_code"], "grant_type": grant})
    browser.submit(browser.get("/login"), "/logout")
    company.provider.bad = {"aud": "other"}
    company.refused()
    company.browser().sign_in("bob")
    company.world.run(flush_audit(company.world.registry, is_last=True))
    rows = company.world.rows(
        "select action, method, is_allowed from audit where address = $1 order by id", browser.address
    )
    found = [(row[0], row[1]) for row in rows if row[2]]
    assert {
        ("user.created", "oidc"),
        ("sign-on.linked", "oidc"),
        ("session.opened", "oidc"),
        ("device.approved", "session"),
        ("credential.created", "device-code"),
        ("session.closed", "session"),
        ("sign-on.refused", "oidc"),
        ("session.opened", "password"),
        ("sign-in", "oidc"),
    } <= set(found)
    assert [(row[0], row[1]) for row in rows if not row[2]] == [("sign-in", "oidc")]


def test_unlinking_leaves_nobody_without_a_way_in(company: Company) -> None:
    """Whoever no provider vouches for any more may not act; a user with a password here stays."""
    world, admin = company.world, company.world.caller("admin")
    company.sign_on(company.browser())
    world.run(link(world.registry, admin, "alice", NAME, "u-2"))
    world.run(unlink(world.registry, admin, "alice", NAME))
    world.run(unlink(world.registry, admin, "erin", NAME))
    assert (state(company, "alice"), state(company)) == (True, False)
    detail = world.rows("select actor, detail from event where kind = 'user.disabled'")
    assert [(actor, json.loads(text)) for actor, text in detail] == [("admin", {"reason": f"unlinked from {NAME}"})]


def test_a_provider_that_is_slow_holds_up_no_other(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is asked by itself, and once for all who wait for it."""
    providers = AskedProviders(is_private_allowed=True)
    slow, quick = (Issuer(number, name, "oidc", f"https://{name}.test", ("x",)) for number, name in enumerate("ab"))
    asked, going = list[str](), asyncio.Event()

    async def look(url: str) -> str:
        asked.append(url)
        if url == slow.url:
            await going.wait()
        return "it is away"

    async def discover(issuer: Issuer) -> None:
        with pytest.raises(Unavailable):
            await providers.discover(issuer)

    async def race() -> None:
        waiting = [asyncio.ensure_future(discover(slow)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.wait_for(discover(quick), 10)
        going.set()
        await asyncio.gather(*waiting)

    monkeypatch.setattr(providers, "_look", look)
    company.world.run(race())
    assert asked == [slow.url, quick.url]

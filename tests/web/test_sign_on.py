"""Signing on with an OpenID Connect provider: the way there and back, who somebody is here, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.core.directory import ACTOR
from entrepot.core.organisations import NewOrganisation, create_organisation
from entrepot.core.sign_on_providers import link, remove_provider, unlink
from entrepot.core.team_groups import add_group
from entrepot.core.teams import TeamName, create_team
from tests.support.issuer import DISCOVERY, EC, STRANGER
from tests.support.provider import SECRET, USERINFO
from tests.web.signing import NAME, START, Signing


def test_a_provider_signs_somebody_in(signing: Signing) -> None:
    """Whoever the provider knows has an account here, by the name that it says, and a session."""
    browser = signing.browser()
    assert f'href="{START}?next=/login">' in browser.get("/login").body.decode()
    answer = signing.sign_on(browser, f"{START}?next=/login/device")
    assert (answer.status, answer["location"]) == (303, "/login/device")
    assert "<strong>erin</strong>, by idp" in browser.get("/login").body.decode()
    world = signing.world
    assert world.rows("select source, password_hash from account where name = 'erin'") == [("oidc", "")]
    events = world.rows("select kind, actor, subject, detail from event order by id desc limit 3")
    assert [row[:3] for row in reversed(events)] == [
        ("user.created", "oidc:idp", "erin"),
        ("sign-on.linked", "oidc:idp", "erin"),
        ("session.opened", "erin", "erin"),
    ]
    assert world.registry.trust.sign_ins == {("idp", "signed-in"): 1}


def test_the_second_time_is_the_same_account(signing: Signing) -> None:
    """Somebody is known by the subject alone: another name and address at the provider change nothing here."""
    signing.sign_on(signing.browser())
    signing.provider.person |= {"preferred_username": "admin", "email": "admin@example.com"}
    browser = signing.browser()
    assert signing.sign_on(browser).status == 303
    assert "<strong>erin</strong>" in browser.get("/login").body.decode()


@pytest.mark.parametrize("name", ["alice", "admin", "login", "", "UPPER case", "pub"])
def test_names_are_not_taken_over(signing: Signing, name: str) -> None:
    """A name that is somebody's, reserved or impossible makes no account; the page says what an administrator does."""
    signing.provider.person["preferred_username"] = name
    page = signing.refused()
    assert "entrepot user link NAME idp u-1" in page
    assert signing.world.rows("select count(*) from sign_on_link") == [(0,)]


def test_an_administrator_links(signing: Signing) -> None:
    """After linking, whoever the provider calls so signs on as the local user, password kept, until unlinked."""
    world, browser = signing.world, signing.browser()
    signing.provider.person["preferred_username"] = "alice"
    signing.refused()
    world.run(link(world.registry, world.caller("admin"), "alice", NAME, "u-1"))
    assert signing.sign_on(browser).status == 303
    assert "<strong>alice</strong>" in browser.get("/login").body.decode()
    assert signing.browser().sign_in("alice").status == 303
    world.run(unlink(world.registry, world.caller("admin"), "alice", NAME))
    assert "<strong>" not in browser.get("/login").body.decode()
    signing.refused()


def test_what_the_database_holds_is_sealed(signing: Signing) -> None:
    """Neither the client's secret nor refresh tokens stand in the database in clear; they are of one purpose each."""
    signing.sign_on(signing.browser())
    ((secret,),) = signing.world.rows("select client_secret from sign_on_provider")
    ((refresh,),) = signing.world.rows("select refresh_token from sign_on_link")
    (kept,) = signing.provider.refreshes
    assert secret
    assert refresh
    assert (secret, refresh) != (SECRET, kept)
    signing.world.transact(lambda tx: tx.execute("update sign_on_provider set client_secret = $1", refresh))
    assert "cannot be read" in signing.refused()


def test_replayed_stolen_and_mixed_up_answers(signing: Signing) -> None:
    """An answer counts once, in the browser that asked, for the provider that was asked, with its state."""
    browser, thief = signing.browser(), signing.browser()
    back = signing.go(browser)
    assert thief.get(back).status == 403
    signing.go(thief)
    assert thief.get(back).status == 403
    cookie, used = browser.cookies["entrepot-sign-on"], dict(signing.provider.codes)
    assert browser.get(back).status == 303
    assert "entrepot-sign-on" not in browser.cookies
    browser.cookies["entrepot-sign-on"] = cookie
    assert "does not take this any more" in browser.get(back).body.decode()
    signing.provider.codes |= used
    browser.cookies["entrepot-sign-on"] = cookie
    assert "has been used" in browser.get(back).body.decode()
    signing.add("other")
    mixed = signing.browser()
    assert mixed.get(signing.go(mixed).replace("/idp/", "/other/")).status == 403
    late = signing.browser()
    back = signing.go(late)
    signing.world.clock.advance(seconds=601)
    assert "ten minutes" in late.get(back).body.decode()


def test_another_provider_answers(signing: Signing) -> None:
    """RFC 9207: an answer that names another issuer, or none where it promised to, is not taken to the provider."""
    browser = signing.browser()
    other = signing.go(browser).replace("iss=", "iss=https%3A%2F%2Fevil.example")
    assert "another provider answered" in browser.get(other).body.decode()
    signing.provider.answers[DISCOVERY]["authorization_response_iss_parameter_supported"] = True
    signing.world.run(signing.providers.close())
    browser = signing.browser()
    assert browser.get(signing.go(browser).partition("&iss=")[0]).status == 403
    assert signing.provider.forms == []


def test_the_provider_says_no(signing: Signing) -> None:
    """Whoever does not want, or may not, is told what the provider said, with nothing in it that could be HTML."""
    browser = signing.browser()
    back = signing.go(browser).replace("code=", "error=access_denied<b>&x=")
    page = browser.get(back).body.decode()
    assert "access_deniedb" in page
    other = signing.browser()
    back = signing.go(other)
    signing.provider.codes.clear()
    assert "does not take this any more" in other.get(back).body.decode()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"nonce": "other"}, "another sign-in"),
        ({"nonce": None}, "another sign-in"),
        ({"aud": "other"}, "not for this registry"),
        ({"aud": ["entrepot", "other"]}, "another client"),
        ({"azp": "other"}, "another client"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"exp": 1_000}, "expired"),
        ({"exp": None}, "never expires"),
        ({"iat": 10**10}, "of the future"),
        ({"sub": None}, "who this is"),
        ({"sub": ""}, "who this is"),
        ({"sub": 7}, "who this is"),
        ({"sub": "a" * 256}, "who this is"),
    ],
)
def test_id_tokens_for_others(signing: Signing, bad: dict[str, Any], words: str) -> None:
    """An ID token of another issuer, client, sign-in or time lets nobody in."""
    signing.provider.bad = bad
    assert words in signing.refused()


def test_an_audience_that_is_shared_names_us(signing: Signing) -> None:
    """A token for several is ours where it says that it was given to us."""
    signing.provider.bad = {"aud": ["entrepot", "other"], "azp": "entrepot"}
    assert signing.sign_on(signing.browser()).status == 303


def test_signatures_of_strangers(signing: Signing) -> None:
    """A key that the provider does not have proves nothing; another one of its keys does."""
    signing.provider.key = STRANGER
    assert "signature is wrong" in signing.refused()
    signing.provider.key = EC
    assert signing.sign_on(signing.browser()).status == 303


def test_userinfo_says_the_rest(signing: Signing) -> None:
    """Where the ID token only says who it is, the rest is asked for, and must be of the same person."""
    provider = signing.provider
    provider.thin = True
    assert "entrepot user link" in signing.refused()
    provider.answers[DISCOVERY]["userinfo_endpoint"] = provider.url + USERINFO
    provider.answers[USERINFO] = {**provider.person, "sub": "u-2"}
    signing.world.run(signing.providers.close())
    assert "of somebody else" in signing.refused()
    provider.answers[USERINFO] = provider.person
    assert signing.sign_on(signing.browser()).status == 303
    del provider.answers[USERINFO]
    assert "status 404" in signing.refused()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((500, {}), "status 500"),
        ((200, b"<html>"), "no JSON object"),
        ((401, {"error": "invalid_client"}), "invalid_client"),
        ((200, {"id_token": 7}), "no signed JWT"),
        ((302, {}), "status 302"),
    ],
)
def test_a_token_endpoint_that_fails(signing: Signing, reply: tuple[int, Any], words: str) -> None:
    """What is wrong at the provider is told, without what it answered."""
    signing.provider.reply = reply
    assert words in signing.refused()


@pytest.mark.parametrize(
    "wrong",
    [
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "http://["},
        {"token_endpoint": 7},
        {"issuer": "https://evil.example"},
    ],
)
def test_discovery_documents_that_are_none(signing: Signing, wrong: dict[str, Any]) -> None:
    """A browser is sent nowhere by a document of another issuer, or one without endpoints."""
    signing.provider.answers[DISCOVERY] |= wrong
    answer = signing.browser().get(START)
    assert (answer.status, "location" in answer) == (503, False)


def test_the_secret_is_sent_as_the_provider_takes_it(signing: Signing) -> None:
    """As Basic by default, in the form where only that is listed, and not at all by a public client."""
    signing.sign_on(signing.browser())
    assert "client_secret" not in signing.provider.forms[-1]
    signing.provider.answers[DISCOVERY]["token_endpoint_auth_methods_supported"] = ["client_secret_post", 7]
    signing.world.run(signing.providers.close())
    signing.sign_on(signing.browser())
    assert signing.provider.forms[-1]["client_secret"] == SECRET
    signing.change(client_secret="")
    assert signing.sign_on(signing.browser()).status == 303
    assert "client_secret" not in signing.provider.forms[-1]


def test_who_comes_in(signing: Signing) -> None:
    """Only verified addresses of the domains, members of the groups, and those who are linked, where asked."""
    signing.change(domains=("example.com",))
    signing.provider.person["email_verified"] = "true"
    assert "verified addresses of example.com" in signing.refused()
    signing.provider.person |= {"email_verified": True, "email": "erin@example.com.evil.example"}
    signing.refused()
    signing.provider.person["email"] = "erin@EXAMPLE.com"
    signing.change(groups=("ops",))
    assert "none of the groups" in signing.refused()
    signing.provider.person["groups"] = "ops"
    signing.change(creates_accounts=False)
    assert "nobody has said who you are here" in signing.refused()
    signing.change(creates_accounts=True)
    assert signing.sign_on(signing.browser()).status == 303


def test_disabled_and_unknown_providers(signing: Signing) -> None:
    """A disabled one is not offered, and signs nobody in; nor does one that is not there."""
    browser = signing.browser()
    back = signing.go(browser)
    signing.change(is_enabled=False)
    assert START not in browser.get("/login").body.decode()
    assert (browser.get(START).status, browser.get(back).status) == (404, 404)
    assert browser.get("/login/oidc/other").status == 404
    assert browser.get("/login/oidc/%00").status == 404


def test_private_addresses_are_refused() -> None:
    """Unless the settings allow it, no provider at a private address is asked."""
    signing = Signing(is_private_allowed=False)
    try:
        assert signing.browser().get(START).status == 503
        assert signing.provider.asked == []
    finally:
        signing.close()


def test_groups_are_teams(signing: Signing) -> None:
    """Groups put people into the teams that are mapped to them, under the provider's name; others leave."""
    world = signing.world
    admin = world.caller("admin")
    world.run(create_organisation(world.registry, admin, NewOrganisation("acme", "", "alice")))
    for team in ("devs", "ops"):
        world.run(create_team(world.registry, admin, TeamName("acme", team), ""))
        world.run(add_group(world.registry, admin, f"acme/{team}", f"idp:{team}"))
    world.run(add_group(world.registry, admin, "acme/ops", "devs"))
    signing.sign_on(signing.browser())
    assert signing.teams("erin") == ["acme/devs oidc:idp"]
    signing.provider.person["groups"] = ["ops"]
    signing.sign_on(signing.browser())
    assert signing.teams("erin") == ["acme/ops oidc:idp"]
    signing.provider.person["groups"] = None
    signing.sign_on(signing.browser())
    assert signing.teams("erin") == ["acme/ops oidc:idp"]
    signing.change(groups_claim="")
    signing.sign_on(signing.browser())
    assert signing.teams("erin") == []
    actors = {row[0] for row in world.rows("select actor from event where kind = 'user.teams'")}
    assert actors == {"oidc:idp"} != {ACTOR}


def test_removing_a_provider_ends_what_came_by_it(signing: Signing) -> None:
    """Sessions, links and teams go, and whoever came by it alone may not act; linked local users stay."""
    world, browser, alice = signing.world, signing.browser(), signing.browser()
    signing.sign_on(browser)
    world.run(link(world.registry, world.caller("admin"), "alice", NAME, "u-2"))
    signing.provider.person["sub"] = "u-2"
    signing.sign_on(alice)
    world.run(remove_provider(world.registry, world.caller("admin"), NAME))
    assert "<strong>" not in browser.get("/login").body.decode() + alice.get("/login").body.decode()
    rows = world.rows("select name, is_disabled from account where name in ('alice', 'erin') order by name")
    assert rows == [("alice", 0), ("erin", 1)]
    assert alice.sign_in("alice").status == 303


def test_an_account_disabled_by_hand_stays_so(signing: Signing) -> None:
    """What somebody here disabled, no provider enables."""
    signing.sign_on(signing.browser())
    signing.change_account("erin", is_disabled=True)
    assert "disabled" in signing.refused()
    signing.change_account("erin", is_disabled=False)
    assert signing.sign_on(signing.browser()).status == 303


def test_refusals_are_events_and_few(signing: Signing) -> None:
    """A refused sign-in is an event with the reason, equal ones within seconds are one."""
    signing.provider.bad = {"aud": "other"}
    for _ in range(3):
        signing.refused()
    ((actor, detail),) = signing.world.rows("select actor, detail from event where kind = 'sign-on.refused'")
    assert (actor, json.loads(detail)) == ("unknown", {"problem": "audience", "address": "198.51.100.7"})
    assert signing.world.registry.trust.sign_ins == {("idp", "audience"): 3}


def test_passwords_do_not_open_such_accounts(signing: Signing) -> None:
    """Nobody logs in with a password, an empty one included, as somebody of a provider."""
    signing.sign_on(signing.browser())
    for password in ("", "x", "erin-password"):
        page = signing.browser()
        assert page.submit(page.get("/login"), "/login", name="erin", password=password).status == 403

"""Whoever signed on stays in as long as their provider vouches for them."""

from __future__ import annotations

import pytest

from entrepot.core import sign_on_follow
from entrepot.core.sign_on_follow import check_links
from entrepot.core.sign_on_providers import link, remove_provider
from entrepot.domain.errors import Conflict
from tests.support.browser import Browser
from tests.web.signing import NAME, Signing

HOURS = 12 * 3600


def check(signing: Signing, seconds: int = 901) -> None:
    """Let time pass, and run the job."""
    signing.world.clock.advance(seconds=seconds)
    signing.provider.now = signing.world.clock.now() // 1_000_000
    signing.world.run(check_links(signing.world.registry))


def is_in(browser: Browser) -> bool:
    """Whether a browser is signed in."""
    return "You are signed in" in browser.get("/login").body.decode()


def state(signing: Signing, name: str = "erin") -> bool:
    """Whether an account may act."""
    ((disabled,),) = signing.world.rows("select is_disabled from account where name = $1", name)
    return not disabled


@pytest.fixture
def erin(signing: Signing) -> Browser:
    """A browser that somebody of the provider signed in with."""
    browser = signing.browser()
    signing.sign_on(browser)
    return browser


def test_a_provider_that_vouches(signing: Signing, erin: Browser) -> None:
    """Asked every 15 minutes and not more often, by the newest refresh token, a provider keeps sessions going."""
    check(signing, 600)
    asked = len(signing.provider.forms)
    assert [form["grant_type"] for form in signing.provider.forms] == ["authorization_code"]
    for _ in range(3):
        check(signing, HOURS - 60)
    assert len(signing.provider.forms) == asked + 3
    check(signing, 60)
    assert len(signing.provider.forms) == asked + 3
    assert (is_in(erin), state(signing)) == (True, True)


def test_without_a_new_refresh_token_the_old_one_is_kept(signing: Signing, erin: Browser) -> None:
    """A provider that does not rotate is asked with the same token again; one that says nothing changes no teams."""
    signing.provider.gives_id_at_refresh = False
    signing.provider.gives_refresh = False
    ((before,),) = signing.world.rows("select checked_at from sign_on_link")
    check(signing)
    ((after,),) = signing.world.rows("select checked_at from sign_on_link")
    assert after > before
    assert is_in(erin)


def test_somebody_removed_at_the_provider(signing: Signing, erin: Browser) -> None:
    """Who is gone there may not act here: sessions end and the account is disabled, until they sign on again."""
    signing.provider.refreshes.clear()
    check(signing)
    assert (is_in(erin), state(signing)) == (False, False)
    kinds = [row[0] for row in signing.world.rows("select kind from event order by id desc limit 1")]
    assert kinds == ["user.disabled"]
    assert signing.sign_on(signing.browser()).status == 303
    assert state(signing)


def test_who_is_gone_at_the_provider_is_brought_back_by_it_alone(signing: Signing, erin: Browser) -> None:
    """Nobody here enables them before they sign on again; disabled by hand, they cannot do that either."""
    signing.provider.refreshes.clear()
    check(signing)
    with pytest.raises(Conflict, match="they are enabled by signing on again"):
        signing.change_account("erin", is_disabled=False)
    signing.change_account("erin", is_disabled=True)
    assert "disabled" in signing.refused()
    found = signing.change_account("erin", is_disabled=False)
    assert (found.is_disabled, found.gone_at) == (True, signing.world.clock.now())
    told = signing.world.rows("select kind, detail from event where actor = 'admin' order by id desc limit 2")
    assert told == [
        ("user.enabled", '{"disabled":[true,true],"gone":[false,true]}'),
        ("user.disabled", '{"disabled":[true,true],"gone":[true,false]}'),
    ]
    assert signing.sign_on(signing.browser()).status == 303
    assert state(signing)


def test_what_a_provider_says_of_who_is_disabled_is_not_forgotten(signing: Signing, erin: Browser) -> None:
    """Whoever it lost meanwhile is void with all that was issued, as if it had lost them while they were enabled."""
    signing.change_account("erin", is_disabled=True)
    signing.provider.refreshes.clear()
    check(signing)
    signing.change_account("erin", is_disabled=False)
    assert not state(signing)
    ((since,),) = signing.world.rows("select credentials_since from account where name = 'erin'")
    assert since == signing.world.clock.now()


def test_somebody_of_a_provider_administers(signing: Signing, erin: Browser) -> None:
    """Whoever came by signing on is made an administrator like anybody else, and stays one when they come back."""
    signing.change_account("erin", is_admin=True)
    signing.provider.refreshes.clear()
    check(signing)
    assert not state(signing)
    signing.sign_on(signing.browser())
    assert signing.change_account("erin").can_administer


def test_groups_follow(signing: Signing, erin: Browser) -> None:
    """Whoever is in none of the groups that come in any more is out."""
    signing.change(groups=("devs",))
    check(signing)
    assert is_in(erin)
    signing.provider.person["groups"] = []
    check(signing)
    assert (is_in(erin), state(signing)) == (False, False)


def test_somebody_else_at_refresh(signing: Signing, erin: Browser) -> None:
    """A refresh that answers about another person ends it."""
    signing.provider.person["sub"] = "u-9"
    check(signing)
    assert not state(signing)


def test_a_provider_that_is_away_changes_nothing(signing: Signing, erin: Browser) -> None:
    """While nobody answers, or with an error that is not about the person, accounts stay."""
    signing.provider.reply = (500, {})
    check(signing)
    assert (is_in(erin), state(signing)) == (True, True)
    signing.provider.reply = (401, {"error": "invalid_client"})
    check(signing, HOURS)
    assert (is_in(erin), state(signing)) == (False, True)
    signing.provider.reply = None
    check(signing)
    assert state(signing)


def test_one_that_is_away_is_asked_once_a_run(signing: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many people of a provider that is away, one is asked about."""
    monkeypatch.setattr(sign_on_follow, "BATCH", 1)
    for number in range(3):
        signing.provider.person |= {"sub": f"u-{number}", "preferred_username": f"erin{number}"}
        signing.sign_on(signing.browser())
    signing.provider.reply = (500, {})
    asked = len(signing.provider.forms)
    check(signing)
    assert len(signing.provider.forms) == asked + 1


def test_without_refresh_tokens(signing: Signing) -> None:
    """Who cannot be asked about is in for the hours of a session, and then out until they sign on again."""
    signing.provider.gives_refresh = False
    browser = signing.browser()
    signing.sign_on(browser)
    check(signing, HOURS - 60)
    assert (is_in(browser), state(signing)) == (True, True)
    check(signing, 120)
    assert (is_in(browser), state(signing)) == (False, False)
    check(signing)
    assert len(signing.provider.forms) == 1


def test_local_users_stay(signing: Signing) -> None:
    """A linked local user loses the sessions and keeps the account; whoever a second provider vouches for as well."""
    world, browser = signing.world, signing.browser()
    world.run(link(world.registry, world.caller("admin"), "alice", NAME, "u-1"))
    signing.sign_on(browser)
    signing.provider.refreshes.clear()
    check(signing)
    assert (is_in(browser), state(signing, "alice")) == (False, True)


def test_two_providers(signing: Signing, erin: Browser) -> None:
    """Whoever one provider does not vouch for any more stays while another one does."""
    world = signing.world
    signing.add("other")
    world.run(link(world.registry, world.caller("admin"), "erin", "other", "u-1"))
    signing.sign_on(signing.browser(), "/login/oidc/other")
    world.transact(lambda tx: tx.execute("update sign_on_link set refresh_token = 'x' where provider = 1"))
    world.clock.advance(seconds=HOURS + 1)
    check(signing)
    assert state(signing)
    ended = world.rows(
        "select p.name from sign_on_link l join sign_on_provider p on p.id = l.provider where ended_at > 0"
    )
    assert ended == [("idp",)]


def test_races_with_a_sign_in(signing: Signing, erin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs on while the job asks about them is judged by that, whatever the provider answered the job."""
    original, world = sign_on_follow._check, signing.world

    async def sign_on_first(registry: object, row: object) -> bool:
        await world.database.transact(lambda tx: tx.execute("update sign_on_link set checked_at = checked_at + 1"))
        return await original(registry, row)  # type: ignore[arg-type]

    monkeypatch.setattr(sign_on_follow, "_check", sign_on_first)
    check(signing)
    assert (is_in(erin), state(signing)) == (True, True)
    signing.provider.refreshes.clear()
    check(signing)
    assert (is_in(erin), state(signing)) == (True, True)


def test_a_provider_removed_meanwhile(signing: Signing, erin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that is removed while the job runs is not asked any more."""
    world = signing.world
    original = sign_on_follow._check

    async def remove_first(registry: object, row: object) -> bool:
        await remove_provider(world.registry, world.caller("admin"), NAME)
        return await original(registry, row)  # type: ignore[arg-type]

    monkeypatch.setattr(sign_on_follow, "_check", remove_first)
    asked = len(signing.provider.forms)
    check(signing)
    assert len(signing.provider.forms) == asked


def test_what_is_not_about_the_person_puts_nobody_out(signing: Signing, erin: Browser) -> None:
    """Tokens that cannot be proved, of another time or client, and a secret that cannot be read change nothing."""
    for bad in ({"aud": "other"}, {"exp": 1000}, {"iss": "https://evil.example"}):
        signing.provider.bad = bad
        check(signing)
        assert (is_in(erin), state(signing)) == (True, True)
    signing.provider.bad = {}
    check(signing)
    assert is_in(erin)
    signing.world.transact(lambda tx: tx.execute("update sign_on_provider set client_secret = 'x'"))
    check(signing)
    assert (is_in(erin), state(signing)) == (True, True)


def test_a_sign_in_while_the_provider_answers(signing: Signing, erin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs on between the answer of the provider and its record keeps what the sign-in gave."""
    original, world = sign_on_follow._claims, signing.world

    async def sign_on_first(*words: object) -> object:
        await world.database.transact(lambda tx: tx.execute("update sign_on_link set checked_at = checked_at + 1"))
        return await original(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(sign_on_follow, "_claims", sign_on_first)
    ((before,),) = world.rows("select checked_at from sign_on_link")
    check(signing)
    ((after,),) = world.rows("select checked_at from sign_on_link")
    assert (after - before, is_in(erin)) == (1, True)


def test_the_cookie_lasts_as_long_as_the_session(signing: Signing, erin: Browser) -> None:
    """Once a session is extended, the next page lets the browser keep its cookie so much longer."""
    check(signing, HOURS - 3600)
    (cookie,) = (value for name, value in erin.get("/login").pairs if name == "set-cookie")
    assert cookie.startswith(f"entrepot={erin.cookies['entrepot']};")
    assert f"Max-Age={HOURS};" in cookie

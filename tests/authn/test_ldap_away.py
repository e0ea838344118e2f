"""A directory that hangs, is stopped or is slow: logins fail saying so, and work again once it is back."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

import pytest

from entrepot.authn import ldap
from entrepot.authn._circuit import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from entrepot.authn._ldap_session import Session, _Entry, _is_disabled
from entrepot.domain.errors import TooMany, Unavailable
from tests.authn.conftest import Asker
from tests.support.slapd import GROUPS, PEOPLE, Slapd

SOON = 0.4


def reason(asker: Asker, name: str = "alice") -> str:
    """Why a login cannot be judged."""
    with pytest.raises(Unavailable) as caught:
        asker.log_in(name)
    (found,) = caught.value.detail["reasons"]  # type: ignore[misc]  # a list of strings
    return str(found)


@pytest.mark.parametrize("way", ["StartTLS", "ldaps", "plain"])
def test_a_directory_that_hangs(own_slapd: Slapd, way: str) -> None:
    """A login ends when its time is up, whatever it waits for; until a pause is over the directory is not asked."""
    url = own_slapd.tls_url if way == "ldaps" else own_slapd.url
    with Asker(own_slapd, urls=(url,), start_tls=way != "plain", timeout_seconds=SOON) as asker:
        own_slapd.hang()
        assert reason(asker) == "it does not answer"
        own_slapd.go_on()
        # It would answer now: whoever is refused has not asked.
        assert reason(asker) == "it does not answer"
        assert asker.directory.away() == {url: "it does not answer"}
        asker.seconds = FIRST_PAUSE_SECONDS
        assert _eventually(asker) == "alice"
        assert asker.directory.away() == {}


def test_a_time_limit_is_told_as_one(own_slapd: Slapd) -> None:
    """Whichever limit is reached first, that of the socket or of the login: nobody is told that the server hung up."""
    with Asker(own_slapd, start_tls=False) as asker:
        session = Session(asker.directory._options, own_slapd.url, ssl.create_default_context(), SOON)
        own_slapd.hang()
        with pytest.raises(Unavailable, match=r"^it does not answer$"):
            session.log_in("alice", "alice-secret")


def _eventually(asker: Asker) -> str:
    """Log in, with as many probes as a busy machine makes necessary; the time limit of tests ends this."""
    while True:
        try:
            return asker.log_in("alice")
        except Unavailable:
            asker.seconds += LONGEST_PAUSE_SECONDS


def test_a_directory_that_is_stopped(own_slapd: Slapd) -> None:
    """Logins fail saying that nobody is there, and work once it runs again and a pause is over."""
    with Asker(own_slapd) as asker:
        assert asker.log_in("alice") == "alice"
        own_slapd.stop()
        assert "refused" in reason(asker)
        own_slapd.start()
        assert "refused" in reason(asker)
        asker.seconds = FIRST_PAUSE_SECONDS
        assert asker.log_in("alice") == "alice"


def test_another_server_steps_in(slapd: Slapd, own_slapd: Slapd) -> None:
    """Within the time of one login, while the first one hangs; the second login does not wait for it at all."""
    with Asker(slapd, urls=(own_slapd.url, slapd.url), start_tls=False) as asker:
        own_slapd.hang()
        assert asker.log_in("alice") == "alice"
        assert asker.directory.away() == {own_slapd.url: "it does not answer"}
        assert asker.log_in("bob") == "bob"


def test_a_crowd_before_a_directory_that_hangs(own_slapd: Slapd) -> None:
    """All of them are told so, those that no thread was free for included; then threads are free again."""
    with Asker(own_slapd, timeout_seconds=SOON) as asker:
        own_slapd.hang()

        async def crowd() -> list[Any]:
            asked = [asker.directory.log_in(f"user{number}", "secret") for number in range(4 * ldap.THREADS)]
            return await asyncio.gather(*asked, return_exceptions=True)

        assert {str(found) for found in asker.run(crowd())} == {ldap.AWAY}
        own_slapd.go_on()
        asker.seconds = LONGEST_PAUSE_SECONDS
        assert _eventually(asker) == "alice"


def test_waiting_for_a_thread_is_not_the_directorys_fault(slapd: Slapd) -> None:
    """Who was never asked is not away."""
    busy = threading.Event()
    with Asker(slapd, timeout_seconds=SOON) as asker:
        for _ in range(ldap.THREADS):
            asker.directory._pool.submit(busy.wait)
        with pytest.raises(TooMany):
            asker.log_in("alice")
        busy.set()
        assert asker.directory.away() == {}
        assert _eventually(asker) == "alice"


def test_a_search_that_is_cut_short(own_slapd: Slapd) -> None:
    """Nobody loses a group because the directory does not tell all of them."""
    own_slapd.limit(1)
    with Asker(own_slapd, member_attribute="", group_filter="(&(objectClass=groupOfNames)(member={dn}))") as asker:
        assert asker.log_in("bob") == "bob"
        assert reason(asker) == "it does not search ldap.group_base: sizeLimitExceeded"


def test_people_come_and_go(own_slapd: Slapd) -> None:
    """Whoever is removed is not found and not let in, and a new one of the same name has another id."""
    with Asker(own_slapd) as asker:
        before = asker.run(asker.directory.find(["dora"]))["dora"]
        own_slapd.remove("dora")
        assert asker.run(asker.directory.find(["dora", "bob"])).keys() == {"bob"}
        assert asker.log_in("dora") == ""
        own_slapd.add("dora")
        after = asker.run(asker.directory.find(["dora"]))["dora"]
        assert after.id != before.id
        assert asker.log_in("dora") == "dora"


def test_groups_change(own_slapd: Slapd) -> None:
    """Both kinds of membership follow at once."""
    with Asker(own_slapd) as asker:
        change = f"changetype: modify\nadd: member\nmember: uid=dora,{PEOPLE}\n"
        own_slapd.change(f"dn: cn=devs,{GROUPS}\n{change}")
        own_slapd.change(f"dn: cn=builders,{GROUPS}\nchangetype: modify\nadd: memberUid\nmemberUid: dora\n")
        assert asker.groups("dora") == {"devs", "builders"}
        own_slapd.change(f"dn: cn=devs,{GROUPS}\n{change.replace('add: member', 'delete: member')}")
        assert asker.groups("dora") == {"builders"}


@pytest.mark.parametrize(
    ("attribute", "value"), [("userAccountControl", "514"), ("nsAccountLock", "TRUE"), ("nsAccountLock", "true")]
)
def test_disabled_people(own_slapd: Slapd, attribute: str, value: str) -> None:
    """Are there, and are not let in with the right password."""
    with Asker(own_slapd) as asker:
        own_slapd.set("dora", "userAccountControl", "512")
        assert asker.log_in("dora") == "dora"
        own_slapd.set("dora", attribute, value)
        assert asker.log_in("dora") == ""
        assert asker.run(asker.directory.find(["dora"]))["dora"].is_disabled


def test_people_locked_by_a_password_policy() -> None:
    """Only the lock that no time ends counts as disabled: others are about guesses at the password."""
    assert _is_disabled(_Entry("", {"pwdaccountlockedtime": [b"000001010000Z"]}))
    assert not _is_disabled(_Entry("", {"pwdaccountlockedtime": [b"20261124000000Z"]}))
    assert not _is_disabled(_Entry("", {"useraccountcontrol": [b"x"], "nsaccountlock": [b"FALSE"]}))

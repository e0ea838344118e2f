"""The directory over Debian's slapd: passwords, groups, encryption; and what is said when it cannot be asked."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from entrepot.authn import ldap
from entrepot.authn._ldap_session import fill
from entrepot.authn.ldap import AWAY, LONGEST_NAME, LONGEST_PASSWORD
from entrepot.domain.directory import group_key
from entrepot.domain.errors import TooMany, Unavailable
from tests.authn.conftest import Asker
from tests.clients.authority import make_authority
from tests.support.slapd import GROUPS, PEOPLE, Slapd


@pytest.fixture(scope="module")
def asker(slapd: Slapd) -> Iterator[Asker]:
    """The adapter with settings that fit, by StartTLS."""
    with Asker(slapd) as asker:
        yield asker


def reasons(asker: Asker, name: str = "alice", password: str = "alice-secret") -> list[str]:
    """Why a login cannot be judged."""
    with pytest.raises(Unavailable) as caught:
        asker.log_in(name, password)
    assert caught.value.message == AWAY
    found: list[str] = caught.value.detail["reasons"]  # type: ignore[assignment]  # a list of strings
    assert "secret" not in str(found)
    assert "127.0.0.1" not in str(found)
    return found


def test_a_password_is_proved(asker: Asker) -> None:
    """By bind as the entry that was searched; the name is the directory's, in small letters, whatever was typed."""
    found = asker.run(asker.directory.log_in("CAROL@example.org", "carol-secret"))
    assert found is not None
    assert (found.name, found.distinguished_name) == ("carol", f"uid=Carol,{PEOPLE}")
    assert (found.email, found.is_disabled) == ("Carol@example.org", False)
    assert len(found.id) == 36
    assert [asker.log_in(name) for name in ("alice", "ALICE", "bob")] == ["alice", "alice", "bob"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "wrong"),
        ("alice", "Alice-secret"),
        ("nobody", "alice-secret"),
        ("alice\0", "alice-secret"),
        ("alice\n", "alice-secret"),
        ("alice", "alice-secret\0"),
        ("a" * (LONGEST_NAME + 1), "alice-secret"),
        ("alice", "a" * (LONGEST_PASSWORD + 1)),
    ],
)
def test_passwords_that_are_wrong(asker: Asker, name: str, password: str) -> None:
    """Wrong, of nobody, or nothing that could be one."""
    assert asker.log_in(name, password) == ""


@pytest.mark.parametrize("name", ["alice", "nobody", ""])
def test_an_empty_password_proves_nothing(asker: Asker, name: str) -> None:
    """Although a bind with one succeeds, as nobody."""
    assert asker.run(asker.directory.log_in(name, "")) is None


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "ali*",
        "alice)(uid=*",
        "*)(objectClass=*",
        "alice)(|(uid=*",
        "x)(|(uid=alice))(uid=x",
        "alice\\",
        "\\61lice",
        "alice)(userPassword=*",
        "{dn}",
        "{name}",
    ],
)
def test_nothing_in_a_name_means_anything(asker: Asker, name: str) -> None:
    """Wildcards, parentheses, escapes and placeholders are text that nobody is called."""
    assert asker.log_in(name, "alice-secret") == ""
    assert asker.run(asker.directory.find([name])) == {}


def test_filters_are_filled_once() -> None:
    """What a value holds is not looked at again, and every special character is escaped (RFC 4515)."""
    filled = fill("(|(member={dn})(uid={name}))", dn="cn={name}(x)", name="*\\\0")
    assert filled == "(|(member=cn={name}\\28x\\29)(uid=\\2a\\5c\\00))"


def test_groups_come_from_both_sides(asker: Asker) -> None:
    """From `memberOf` with their distinguished names, and from the search of groups that name the person."""
    assert asker.groups("alice") == {"devs", "Ops\\2C Night", "builders"}
    assert asker.groups("bob") == {"devs"}
    assert asker.groups("carol") == {"builders"}
    assert asker.groups("dora") == set()
    found = asker.run(asker.directory.find(["alice"]))["alice"]
    keys = frozenset[str]().union(*(group.keys for group in found.groups))
    assert {group_key("CN=Ops\\, Night"), group_key("ops\\, night"), group_key(f"CN=Builders, {GROUPS}")} - keys == {
        group_key("CN=Ops\\, Night")
    }


def test_groups_by_their_members(slapd: Slapd) -> None:
    """Of a directory without `memberOf`, groups are found by the distinguished name of the person."""
    wanted = "(&(objectClass=groupOfNames)(member={dn}))"
    with Asker(slapd, member_attribute="", group_filter=wanted, group_base="") as asker:
        assert asker.groups("alice") == {"devs", "Ops, Night"}
        assert asker.groups("dora") == set()
    with Asker(slapd, member_attribute="", group_filter="", email_attribute="") as asker:
        assert asker.groups("alice") == set()


def test_the_rule_for_nested_groups_is_sent(slapd: Slapd) -> None:
    """Active Directory's matching rule is a filter like others; a server without it finds no group by it."""
    wanted = "(member:1.2.840.113556.1.4.1941:={dn})"
    with Asker(slapd, member_attribute="", group_filter=wanted) as asker:
        assert asker.groups("alice") == set()


def test_those_who_are_there_are_found(asker: Asker) -> None:
    """Under the name of their account, all in one conversation; a name of something else is nobody's."""
    names = ["alice", "carol", "Carol", "nobody", "alice@example.org"]
    assert list(asker.run(asker.directory.find(names))) == ["alice", "carol"]
    assert asker.run(asker.directory.find([])) == {}


@pytest.mark.parametrize("changes", [{}, {"start_tls": False}, {"urls": "ldaps"}])
def test_ways_to_connect(slapd: Slapd, changes: dict[str, Any]) -> None:
    """By StartTLS, in the clear if that is wanted, and inside TLS."""
    if changes.get("urls"):
        changes = {"urls": (slapd.tls_url,)}
    with Asker(slapd, **changes) as asker:
        assert asker.log_in("alice") == "alice"
        assert asker.log_in("alice", "wrong") == ""


@pytest.mark.parametrize("way", ["StartTLS", "ldaps"])
def test_a_certificate_is_looked_at(slapd: Slapd, tmp_path: pathlib.Path, way: str) -> None:
    """Of another authority, or for another host, it is refused before any password is sent."""
    url = slapd.url if way == "StartTLS" else slapd.tls_url
    stranger = make_authority(tmp_path)
    with Asker(slapd, urls=(url,), ca=str(stranger.ca)) as asker:
        assert "CERTIFICATE_VERIFY_FAILED" in reasons(asker)[0]
    with Asker(slapd, urls=(url,), ca="") as asker:
        assert "CERTIFICATE_VERIFY_FAILED" in reasons(asker)[0]


def test_a_certificate_is_for_a_name(slapd: Slapd) -> None:
    """The one of the url: another address of the same server is refused."""
    with Asker(slapd, urls=(slapd.misnamed_url,)) as asker:
        assert "mismatch" in reasons(asker)[0]


def test_an_authority_that_is_no_file(slapd: Slapd) -> None:
    """Is refused at once, naming the setting."""
    with pytest.raises(Unavailable, match=r"ldap\.ca"):
        Asker(slapd, ca="/nowhere/ca.pem")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bind_password": "wrong"}, "it refuses ldap.bind_dn: invalidCredentials"),
        ({"base": "dc=nowhere"}, "it has no ldap.base"),
        ({"bind_dn": ""}, "it has no ldap.base"),
        ({"group_base": "dc=nowhere"}, "it has no ldap.group_base"),
        ({"user_filter": "(uid={name}"}, "invalid filter"),
    ],
)
def test_settings_that_do_not_fit(slapd: Slapd, changes: dict[str, str], reason: str) -> None:
    """Nobody is taken for gone or wrong because the directory is asked for the wrong thing: the reason is said."""
    with Asker(slapd, **changes) as asker:
        assert reason in reasons(asker)[0]
        with pytest.raises(Unavailable):
            asker.run(asker.directory.find(["alice"]))


def test_a_name_of_two_people_proves_nothing(slapd: Slapd) -> None:
    """Whichever of them the password is of."""
    with Asker(slapd, user_filter="(|(uid={name})(uid=bob))") as asker:
        assert asker.log_in("bob") == "bob"
        assert asker.log_in("alice") == ""


def test_an_entry_without_a_name_is_nobody(slapd: Slapd) -> None:
    """Where the attribute for names is not there, nothing can be named after it."""
    with Asker(slapd, name_attribute="employeeNumber") as asker:
        assert asker.log_in("alice") == ""
        assert asker.run(asker.directory.find(["alice"])) == {}


def test_the_first_server_that_answers_is_asked(slapd: Slapd) -> None:
    """One that is away is passed over, and told of; it is tried again after a pause."""
    with Asker(slapd, urls=("ldap://127.0.0.1:1", slapd.url)) as asker:
        assert asker.log_in("alice") == "alice"
        assert list(asker.directory.away()) == ["ldap://127.0.0.1:1"]
        asker.seconds = 100
        assert asker.log_in("alice") == "alice"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"0\x0c\x02\x01\x01a\x07\n\x01\x00\x04\x00\x04\x00garbage",
        b"0\x05\x02\x01\x01a\x00",
        b"0\x03\x04\x01\x01",
        b"\xff" * 100,
    ],
)
def test_what_is_no_directory(slapd: Slapd, answer: bytes) -> None:
    """Something that answers in another language is away, and does no harm."""
    with Asker(slapd) as asker:
        server, port = asker.run(_babble(answer))
        other = Asker(slapd, urls=(f"ldap://127.0.0.1:{port}",), start_tls=False, timeout_seconds=0.5)
        with pytest.raises(Unavailable) as caught:
            asker.run(other.directory.log_in("alice", "alice-secret"))
        assert caught.value.detail["reasons"]
        server.close()
        asker.run(asyncio.sleep(0))
        other.__exit__()


async def _babble(answer: bytes) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return server, port


def test_too_many_at_once_are_told_so(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a queue of some length nobody waits; nothing of it is the directory's fault."""
    monkeypatch.setattr(ldap, "LONGEST_QUEUE", 1)
    with Asker(slapd) as asker:

        async def crowd() -> list[Any]:
            asked = [asker.directory.log_in("alice", "alice-secret") for _ in range(2)]
            return await asyncio.gather(*asked, return_exceptions=True)

        first, second = asker.run(crowd())
        assert first.name == "alice"
        assert isinstance(second, TooMany)
        assert asker.directory.away() == {}

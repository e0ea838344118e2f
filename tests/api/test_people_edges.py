"""People of a directory, accounts that went away meanwhile, and what strangers can tell by the work of an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from entrepot.core import mailing
from entrepot.core.registry import Rules
from entrepot.core.sign_in import Typed, sign_in
from entrepot.domain.errors import CodeNeeded, Unauthenticated
from entrepot.metadata import accounts, totp
from entrepot.ports.database import Tx
from tests.api.door import Door
from tests.api.test_people import AT, ERIN, Town
from tests.api.test_totp import Authenticator, log_in
from tests.support.directory import FakeDirectory, secret_of
from tests.support.mail import PostOffice, code_in
from tests.support.world import World, basic, password_of
from tests.wire.test_equal_work import Counting


@pytest.fixture
def company() -> Any:
    """A town whose directory knows fay."""
    post, fake = PostOffice(), FakeDirectory()
    fake.put("fay")
    with World(directory=fake, mail=post, rules=Rules(registration="open")) as world:
        town = Town(world, post)
        assert town.door.ask("", "GET", "/whoami", authorization=basic("fay", secret_of("fay"))).status == 200
        yield town


def test_passwords_of_the_directory_are_there(company: Town) -> None:
    """Who asks for another one gets a letter that says where it is, by name or by address; no code is made."""
    assert company.ask("POST", "/password-resets", {"user": "fay"}) == (202, "")
    company.give_email("fay", "fay@example.com")
    assert company.ask("POST", "/password-resets", {"user": "fay@example.com"}) == (202, "")
    letters = company.post.deliver(company.world)
    assert [letter.to for letter in letters] == ["fay@example.com", "fay@example.com"]
    assert all("directory" in letter.text for letter in letters)
    assert company.world.rows("select * from mail_code") == []
    assert company.ask("POST", "/users/fay/reset-code", None, "admin") == (409, "CONFLICT")


def test_people_of_the_directory_change_nothing_here(company: Town) -> None:
    """Neither a second factor nor an address is theirs to set here."""
    headers = {"authorization": basic("fay", secret_of("fay"))}
    document = {"password": secret_of("fay")}
    assert company.door.ask("", "POST", "/users/fay/totp", document, **headers).code == "CONFLICT"
    new = {**document, "email": AT}
    assert company.door.ask("", "PUT", "/users/fay/email", new, **headers).code == "CONFLICT"


def test_whoever_the_directory_lost_gets_no_letter(company: Town) -> None:
    """By name the address is asked for there: a letter while there is one, and afterwards nothing."""
    company.ask("POST", "/password-resets", {"user": "fay"})
    assert [letter.to for letter in company.post.deliver(company.world)] == ["fay@example.org"]
    fake = company.world.directory
    assert isinstance(fake, FakeDirectory)
    fake.people.clear()
    company.ask("POST", "/password-resets", {"user": "fay"})
    assert company.post.deliver(company.world) == []


def set_disabled(world: World, name: str) -> None:
    """Disable a user behind the registry's back."""

    async def record(tx: Tx) -> None:
        await tx.execute("update account set is_disabled = 1 where name = $1", name)

    world.transact(record)


def test_a_disabled_account_stays_that(company: Town) -> None:
    """It gets no letter, and a code that was sent before does nothing."""
    company.give_email("bob", AT)
    company.ask("POST", "/password-resets", {"user": "bob"})
    code = company.code()
    set_disabled(company.world, "bob")
    company.ask("POST", "/password-resets", {"user": "bob"})
    assert company.post.deliver(company.world) == []
    choice = {"code": code, "password": "another-password"}
    assert company.ask("POST", "/password-resets/confirm", choice) == (400, "CODE_INVALID")


def test_letters_to_who_went_away_are_not_sent(company: Town) -> None:
    """An account that was removed, and an invitation that was withdrawn, before the worker came to it."""
    document = {"email": AT, "password": password_of("bob")}
    company.ask("PUT", "/users/bob/email", document, "bob")
    company.door.send("admin", "DELETE", "/users/bob")
    made = company.door.send("admin", "POST", "/mail-invitations", {"email": "x@example.com"})
    company.door.send("admin", "DELETE", f"/mail-invitations/{made['id']}")
    assert company.post.deliver(company.world) == []


def test_an_organisation_that_is_gone_invites_nobody(company: Town) -> None:
    """The code goes with it, also if another one has its name by then."""
    company.door.send("admin", "POST", "/organisations", {"name": "acme", "owner": "alice"})
    company.door.send("admin", "POST", "/mail-invitations", {"email": AT, "organisation": "acme"})
    code = company.code()

    async def lose(tx: Tx) -> None:
        await tx.execute("update mail_code set subject = 'none ' || address")

    company.world.transact(lose)
    assert company.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (400, "CODE_INVALID")
    company.door.send("alice", "DELETE", "/organisations/acme?give_to=alice")
    assert company.world.rows("select * from mail_code") == []


@pytest.mark.parametrize("is_written", [False, True])
def test_an_invitation_ends_with_the_right_to_invite(company: Town, *, is_written: bool) -> None:
    """Who is no owner any more comes back by no letter of their own, nor does anybody else, sent already or not."""
    company.door.send("admin", "POST", "/organisations", {"name": "acme", "owner": "alice"})
    company.door.send("admin", "PUT", "/organisations/acme/members/bob", {"role": "owner"})
    new = {"email": AT, "organisation": "acme", "role": "owner"}
    company.door.send("alice", "POST", "/mail-invitations", new)
    code = company.code() if is_written else ""
    path = "/mail-invitations?organisation=acme"
    assert [each["open"] for each in company.door.send("bob", "GET", path)["invitations"]] == [True]
    company.door.send("bob", "DELETE", "/organisations/acme/members/alice")
    assert [each["open"] for each in company.door.send("bob", "GET", path)["invitations"]] == [False]
    if not is_written:
        assert company.post.deliver(company.world) == []
        return
    assert company.ask("POST", "/mail-acceptances", {"code": code}, "alice") == (400, "CODE_INVALID")
    assert company.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (400, "CODE_INVALID")
    company.door.send("admin", "PUT", "/organisations/acme/members/alice", {"role": "owner"})
    assert company.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (201, "")


def test_an_invitation_ends_with_who_sent_it(company: Town) -> None:
    """Whoever has the name of an administrator who went does not stand for what that one sent."""
    company.door.send(
        "admin", "POST", "/users", {"name": "gina", "password": password_of("gina"), "administrator": True}
    )
    company.door.send("gina", "POST", "/mail-invitations", {"email": AT})
    code = company.code()
    company.door.send("admin", "DELETE", "/users/gina")
    assert company.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (400, "CODE_INVALID")
    company.world.clock.advance(seconds=1)
    company.door.send(
        "admin", "POST", "/users", {"name": "gina", "password": password_of("gina"), "administrator": True}
    )
    assert company.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (400, "CODE_INVALID")


def test_names_of_the_directory_are_taken(company: Town) -> None:
    """Whoever registers gets no name of somebody there who has not come yet, and none while it is away."""
    directory = company.world.registry.directory
    assert isinstance(directory, FakeDirectory)
    directory.put("gus")
    company.ask("POST", "/registrations", {"email": AT})
    document = {**ERIN, "code": company.code()}
    assert company.ask("POST", "/registrations/confirm", {**document, "name": "gus"}) == (409, "ALREADY_EXISTS")
    directory.is_away = True
    assert company.ask("POST", "/registrations/confirm", document) == (503, "UNAVAILABLE")
    wrong = {**document, "name": "gus", "code": "2" * 34}
    assert company.ask("POST", "/registrations/confirm", wrong) == (400, "CODE_INVALID")
    directory.is_away = False
    assert company.ask("POST", "/registrations/confirm", document) == (201, "")


def test_only_users_accept(company: Town) -> None:
    """A service account is in no organisation."""
    company.door.send("admin", "POST", "/mail-invitations", {"email": AT})
    code = company.code()
    company.door.send("admin", "POST", "/service-accounts", {"name": "ci"})
    made = company.door.send("admin", "POST", "/service-accounts/robot$ci/secrets", {"name": "x", "scopes": ["admin"]})
    answer = company.door.ask("", "POST", "/mail-acceptances", {"code": code}, authorization=f"Bearer {made['secret']}")
    assert (answer.status, answer.code) == (409, "CONFLICT")


def test_invitations_have_an_end(company: Town) -> None:
    """A hundred that nobody answers are enough, and where registration is off nobody is invited."""

    async def fill(tx: Tx) -> None:
        now = company.world.clock.now()
        for number in range(100):
            await tx.execute(
                "insert into mail_code (selector, purpose, subject, address, hash, created_by, created_at, expires_at) "
                "values ($1, 'invite', $1, 'x', '', 'x', $2, $3)",
                str(number),
                now,
                now + 1,
            )

    company.world.transact(fill)
    assert company.ask("POST", "/mail-invitations", {"email": AT}, "admin") == (409, "CONFLICT")
    with World(mail=PostOffice()) as world:
        assert Town(world, PostOffice()).ask("POST", "/mail-invitations", {"email": AT}, "admin") == (403, "DENIED")


def test_codes_that_are_switched_off_meanwhile(door: Door) -> None:
    """Between password and code the second factor may go, or the account: neither is an error of ours."""
    carried = Authenticator(door, "bob")
    carried.confirm()

    async def switch_off(tx: Tx) -> None:
        await totp.remove_totp(tx, door.world.ids["bob"])

    find = accounts.find_account
    steps = iter([None, switch_off])

    async def racing(tx: Tx, name: str) -> Any:
        step = next(steps, None)
        found = await find(tx, name)
        if step is not None:
            await step(tx)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "find_account", racing)
        assert log_in(door, "123456") == (200, "")
    Authenticator(door, "bob").confirm()
    seen = iter([True])

    async def vanishing(tx: Tx, name: str) -> Any:
        return await find(tx, name) if next(seen, False) else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "find_account", vanishing)
        assert log_in(door, "123456") == (401, "CODE_NEEDED")


@pytest.mark.parametrize(
    ("path", "documents"),
    [
        ("/password-resets", [{"user": who} for who in ("bob", "carol", "nobody", "bob@example.com", "x@example.com")]),
        ("/registrations", [{"email": who} for who in ("bob@example.com", "x@example.com")]),
    ],
)
def test_requests_take_the_same_work(path: str, documents: list[dict[str, str]]) -> None:
    """Whoever is asked about: the same status, words and statements, counted at the port."""
    statements: list[str] = []
    with World(
        wrap_database=lambda database: Counting(database, statements),
        mail=PostOffice(),
        rules=Rules(registration="open"),
    ) as world:
        town = Town(world, PostOffice())
        town.give_email("bob", "bob@example.com")
        town.ask("POST", path, documents[-1])
        seen = []
        for document in documents:
            statements.clear()
            answer = town.door.ask("", "POST", path, document)
            seen.append((answer.status, answer.body, list(statements)))
    assert [each == seen[0] for each in seen] == [True] * len(documents)
    assert seen[0][0] == 202


def test_a_code_is_used_once_by_all_workers(company: Town) -> None:
    """Of two who confirm with one code at the same time, one gets the account."""
    company.ask("POST", "/registrations", {"email": AT})
    (letter,) = company.post.deliver(company.world)
    code = code_in(letter)
    client = company.door.client()

    async def both() -> list[int]:
        async def confirm(name: str) -> int:
            body = json.dumps({"name": name, "password": "a-password", "code": code}).encode()
            answer = await client.exchange(
                "POST", "/api/v1/registrations/confirm", body, content_type="application/json"
            )
            return answer.status

        return list(await asyncio.gather(confirm("one"), confirm("two")))

    assert sorted(company.world.run(both())) == [201, 400]


def test_a_site_does_not_use_up_the_mails_of_all(company: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """All networks of one /48 of IPv6 ask for so many an hour; what they are refused is nobody else's loss."""
    monkeypatch.setattr(mailing, "MOST_PER_SITE", 5)
    monkeypatch.setattr(mailing, "MOST_IN_ALL", 7)

    def ask(address: str) -> int:
        client = company.door.client().with_scope(client=(address, 1))
        body = json.dumps({"email": f"a{address.replace(':', '-')}@example.com"}).encode()
        return client.request("POST", "/api/v1/registrations", body, content_type="application/json").status

    assert [ask(f"2001:db8:1:{number:x}::1") for number in range(9)] == [202] * 5 + [429] * 4
    assert [ask("2001:db8:2::1"), ask("192.0.2.1"), ask("192.0.3.1")] == [202, 202, 429]


def test_nobody_is_flooded_with_other_passwords(company: Town) -> None:
    """Of more than three an hour nobody is told, and nothing comes of them."""
    company.give_email("bob", AT)
    for _ in range(4):
        assert company.ask("POST", "/password-resets", {"user": "bob"}) == (202, "")
        company.post.deliver(company.world)
    assert len(company.post.letters) == 3


def test_the_verb_for_signing_in(door: Door) -> None:
    """A wrong password, a missing code and a right one, as other ways in call it."""
    context = door.world.context

    def enter(password: str, code: str) -> str:
        return door.world.run(sign_in(context.registry, context.genuine, Typed("bob", password, code))).identity.name

    assert enter(password_of("bob"), "") == "bob"
    carried = Authenticator(door, "bob")
    carried.confirm()
    with pytest.raises(CodeNeeded):
        enter(password_of("bob"), "")
    with pytest.raises(Unauthenticated) as wrong:
        enter("wrong", carried.code())
    assert not isinstance(wrong.value, CodeNeeded)
    assert enter(password_of("bob"), carried.code()) == "bob"


def test_a_user_looks_at_their_own(door: Door) -> None:
    """Whether codes are asked for is told to oneself."""
    assert door.send("bob", "GET", "/users/bob/totp") == {"enabled": False, "since": None, "recovery_codes": 0}


def test_a_code_does_not_stand_for_setting_up(door: Door) -> None:
    """Who has to have codes and has none gets nowhere else by sending one along."""
    door.world.rules = Rules(require_totp="everyone")
    door.world.restart()
    assert log_in(Door.again(door), "123456") == (401, "ENROLMENT_NEEDED")

"""Addresses, registration, invitations by mail and forgotten passwords: by letters that a test reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrepot.core.mailing import HOUR, MOST_PER_RECIPIENT, MOST_PER_SOURCE, MOST_TRIES
from entrepot.core.registry import SECOND, Rules
from tests.api.door import Door
from tests.support.mail import PostOffice, code_in, work
from tests.support.world import World, basic, password_of

ERIN = {"name": "erin", "password": "erin-password"}
AT = "erin@example.com"
ADDRESS = "198.51.100.7"


class Town:
    """A registry with a post office."""

    def __init__(self, world: World, post: PostOffice) -> None:
        self.world = world
        self.door = Door(world)
        self.post = post

    def ask(self, method: str, path: str, document: object, user: str = "") -> tuple[int, str]:
        """The status of a request, and the code of its error."""
        answer = self.door.ask(user, method, path, document)
        return answer.status, answer.code if answer.status >= 400 else ""

    def code(self) -> str:
        """The code in the one letter that is on its way."""
        return self.post.code(self.world)

    def give_email(self, user: str, address: str) -> None:
        """Let an administrator vouch for an address."""
        self.door.send("admin", "PUT", f"/users/{user}/email", {"email": address, "verified": True})


def by_whom(town: Town, kind: str) -> tuple[str, str, str]:
    """The actor, address and method of the newest record of a kind."""
    record = town.door.send("admin", "GET", f"/audit?kind={kind}&n=1")["records"][0]
    return record["actor"], record["address"], record["method"]


def opened(**rules: object) -> Iterator[Town]:
    """A town with rules."""
    post = PostOffice()
    with World(rules=Rules(public_url="https://registry.test", **rules), mail=post) as world:  # type: ignore[arg-type]
        yield Town(world, post)


@pytest.fixture
def town() -> Iterator[Town]:
    """Where everybody may register."""
    yield from opened(registration="open")


def test_somebody_registers(town: Town) -> None:
    """The mail's code makes an account with the name that is chosen then, its address proved, its namespace its own."""
    assert town.ask("POST", "/registrations", {"email": AT}) == (202, "")
    (letter,) = town.post.deliver(town.world)
    assert (letter.to, letter.subject) == (AT, "Choose your name and password (registry.test)")
    answer = town.door.ask("", "POST", "/registrations/confirm", {**ERIN, "code": code_in(letter)})
    assert (answer.status, answer["location"], answer.json) == (201, "/api/v1/users/erin", {"name": "erin"})
    assert town.door.send("erin", "GET", "/users/erin/email")["email"] == AT
    detail = {"administrator": False, "email": AT, "invited_by": ""}
    assert town.door.events("user.created")[-1] == ("erin", "erin", detail)
    assert by_whom(town, "user.created") == ("erin", ADDRESS, "code")
    client = town.world.client().with_headers(authorization=basic("erin", "erin-password"))
    assert client.request("POST", "/v2/erin/app/blobs/uploads/").status == 202
    assert client.request("POST", "/v2/alice/app/blobs/uploads/").status == 403


def test_known_and_unknown_addresses_look_alike(town: Town) -> None:
    """The answers are the same; only the letter says that there is an account."""
    town.give_email("bob", "Bob@example.com")
    answers = [town.door.ask("", "POST", "/registrations", {"email": to}) for to in ("bob@EXAMPLE.com", AT)]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    known, unknown = sorted(town.post.deliver(town.world), key=lambda letter: letter.to)
    assert (known.to, "you have one: bob" in known.text) == ("Bob@example.com", True)
    assert code_in(unknown)


def test_a_name_is_told_to_be_taken_only_with_a_code(town: Town) -> None:
    """Without a good code everything is wrong alike; with it another name can be chosen, and then it is used up."""
    taken = {"name": "alice", "password": "a-password"}
    wrong = "2222222222-222222222222222222222222"
    for name in ("alice", "nobody-yet"):
        document = {**taken, "name": name, "code": wrong}
        assert town.ask("POST", "/registrations/confirm", document) == (400, "CODE_INVALID")
    town.ask("POST", "/registrations", {"email": AT})
    code = town.code()
    assert town.ask("POST", "/registrations/confirm", {**taken, "code": code}) == (409, "ALREADY_EXISTS")
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "name": "v2", "code": code}) == (400, "NAME_INVALID")
    short = {**ERIN, "password": "short", "code": code}
    assert town.ask("POST", "/registrations/confirm", short) == (400, "REQUEST_INVALID")
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": code.upper()}) == (201, "")
    again = {**ERIN, "name": "erin2", "code": code}
    assert town.ask("POST", "/registrations/confirm", again) == (400, "CODE_INVALID")


def test_guessing_voids_a_code(town: Town) -> None:
    """After ten wrong secrets under its selector the right one is wrong as well; right ones cost no try."""
    town.ask("POST", "/registrations", {"email": AT})
    code = town.code()
    for _ in range(MOST_TRIES + 2):
        assert town.ask("POST", "/registrations/confirm", {**ERIN, "name": "alice", "code": code})[0] == 409
    for _ in range(MOST_TRIES):
        guess = {**ERIN, "code": f"{code[:10]}-222222222222222222222222"}
        assert town.ask("POST", "/registrations/confirm", guess) == (400, "CODE_INVALID")
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (400, "CODE_INVALID")


@pytest.mark.parametrize("code", ["", "x", "0" * 34, "2" * 33, "\u00e9" * 34])
def test_what_is_no_code(town: Town, code: str) -> None:
    """Anything that no letter ever carried is wrong, and nothing worse."""
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (400, "CODE_INVALID")


def test_codes_end(town: Town) -> None:
    """After a day a code is void, and its row is forgotten; a newer letter voids the one before."""
    town.ask("POST", "/registrations", {"email": AT})
    older = town.code()
    town.ask("POST", "/registrations", {"email": AT})
    newer = town.code()
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": older}) == (400, "CODE_INVALID")
    town.world.clock.advance(days=1, seconds=1)
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": newer}) == (400, "CODE_INVALID")


def test_a_letter_is_tried_again_and_not_for_ever(town: Town) -> None:
    """Refused ones come later, with another code; after a day nobody wants them any more; no code is in the queue."""
    town.post.is_closed = True
    town.ask("POST", "/registrations", {"email": AT})
    payloads = repr(town.world.rows("select payload from job"))
    assert [outcome.error for outcome in work(town.world)] == ["the post office is closed"]
    assert repr(town.world.rows("select payload from job")) == payloads
    town.post.is_closed = False
    town.world.clock.advance(seconds=10)
    code = town.code()
    assert code[:10] not in payloads
    town.post.is_closed = True
    town.ask("POST", "/registrations", {"email": "fred@example.com"})
    work(town.world)
    town.post.is_closed = False
    town.world.clock.advance(days=2)
    assert town.post.deliver(town.world) == []
    assert town.world.rows("select count(*) from job") == [(0,)]


def test_nothing_of_a_code_is_kept(town: Town) -> None:
    """Neither half of a code is in the database as it is but the selector, and none in events."""
    town.ask("POST", "/registrations", {"email": AT})
    code = town.code()
    town.door.send("", "POST", "/registrations/confirm", {**ERIN, "code": code})
    tables = ("mail_code", "mail_count", "job", "event")
    assert code[11:] not in "".join(repr(town.world.rows(f"select * from {table}")) for table in tables)


@pytest.mark.parametrize(("registration", "status"), [("off", 403), ("invited", 403)])
def test_registration_may_be_off(registration: str, status: int) -> None:
    """Then nobody asks for an account."""
    for town in opened(registration=registration):
        assert town.ask("POST", "/registrations", {"email": AT})[0] == status


def test_registration_of_a_domain() -> None:
    """Only addresses of its domains get letters."""
    for town in opened(registration="domain", registration_domains=("example.com",)):
        assert town.ask("POST", "/registrations", {"email": "erin@example.org"}) == (403, "DENIED")
        assert town.ask("POST", "/registrations", {"email": "erin@evil-example.com"}) == (403, "DENIED")
        assert town.ask("POST", "/registrations", {"email": "erin@Example.COM"}) == (202, "")
        code = town.code()
        assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (201, "")


@pytest.mark.parametrize(
    "address",
    [
        *("", "erin", "erin@", "a b@example.com", "a@b\nBcc: c@d", f"{'a' * 65}@b", "a@b..c"),
        *(".a@x.y", "a.@x.y", "a..b@x.y", "=?utf-8?q?=0a?=@x.y", "a=?utf-8?q?ceo=40bank.com=2c?=@x.y"),
    ],
)
def test_addresses_that_cannot_be(town: Town, address: str) -> None:
    """What is no address is refused, line breaks above all, however they are written."""
    assert town.ask("POST", "/registrations", {"email": address}) == (400, "REQUEST_INVALID")
    if "@" in address:
        assert town.ask("POST", "/password-resets", {"user": address}) == (400, "REQUEST_INVALID")


def test_without_mail_nothing_is_promised(door: Door) -> None:
    """A registry that sends no mail says so, before it looks at anything."""
    answers = {door.ask("", "POST", "/password-resets", {"user": name}).body for name in ("bob", "nobody")}
    assert len(answers) == 1
    assert door.ask("", "POST", "/password-resets", {"user": "bob"}).code == "CONFLICT"


def test_nobody_is_flooded(town: Town) -> None:
    """One address gets three mails an hour and is told nothing of more; one network asks for twenty."""
    for _ in range(MOST_PER_RECIPIENT + 2):
        assert town.ask("POST", "/registrations", {"email": AT}) == (202, "")
        town.post.deliver(town.world)
    assert len(town.post.letters) == MOST_PER_RECIPIENT
    statuses = [town.ask("POST", "/registrations", {"email": f"a{n}@example.com"})[0] for n in range(MOST_PER_SOURCE)]
    assert statuses == [202] * (MOST_PER_SOURCE - MOST_PER_RECIPIENT - 2) + [429] * (MOST_PER_RECIPIENT + 2)
    town.post.deliver(town.world)
    town.world.clock.advance(seconds=HOUR // SECOND)
    assert town.ask("POST", "/registrations", {"email": AT}) == (202, "")
    assert town.code()


def test_strangers_keep_no_letter_of_others_back(town: Town) -> None:
    """An address that strangers have asked much for is still invited, and proved by whoever it belongs to."""
    for _ in range(MOST_PER_RECIPIENT + 1):
        town.ask("POST", "/password-resets", {"user": AT})
    assert town.ask("POST", "/mail-invitations", {"email": AT}, "admin") == (202, "")
    assert town.ask("PUT", "/users/bob/email", {"email": AT, "password": password_of("bob")}, "bob") == (202, "")


def test_a_name_and_its_address_are_one_recipient(town: Town) -> None:
    """Nobody gets more letters an hour by being asked for by name as well."""
    town.give_email("bob", "bob@example.com")
    letters = 0
    for _ in range(MOST_PER_RECIPIENT):
        for who in ("bob", "BOB@example.com"):
            assert town.ask("POST", "/password-resets", {"user": who}) == (202, "")
            letters += len(town.post.deliver(town.world))
    assert letters == MOST_PER_RECIPIENT


def test_a_forgotten_password(town: Town) -> None:
    """By name or address a code comes that sets another password; tokens and the other codes are void by that."""
    town.give_email("bob", "bob@example.com")
    token = town.world.token("bob", "repository:pub/app:pull")
    town.world.clock.advance(seconds=1)
    assert town.ask("POST", "/password-resets", {"user": "bob"}) == (202, "")
    code = town.code()
    choice = {"code": code, "password": "another-password"}
    assert town.ask("POST", "/password-resets/confirm", choice) == (204, "")
    assert town.door.ask("", "GET", "/whoami", authorization=basic("bob", "another-password")).status == 200
    assert town.door.ask("bob", "GET", "/whoami").status == 401
    assert town.door.client(token=token).request("GET", "/api/v1/repositories/pub%2Fapp/tags").status == 401
    assert town.ask("POST", "/password-resets/confirm", choice) == (400, "CODE_INVALID")
    assert town.door.events("user.password") == [("bob", "bob", {"by": "reset code", "made_by": ""})]
    assert by_whom(town, "user.password") == ("bob", ADDRESS, "code")
    assert town.ask("POST", "/password-resets", {"user": "BOB@example.com"}) == (202, "")
    code = town.code()
    town.door.send("admin", "PUT", "/users/bob/password", {"password": password_of("bob")})
    assert town.ask("POST", "/password-resets/confirm", {**choice, "code": code}) == (400, "CODE_INVALID")


def test_nobody_can_tell_whose_password_is_asked_for(town: Town) -> None:
    """Users with and without an address and nobody get one answer; letters go to addresses alone."""
    town.give_email("bob", "bob@example.com")
    asked = ("bob", "carol", "nobody", "nobody@example.com")
    answers = {
        (each.status, each.body)
        for each in (town.door.ask("", "POST", "/password-resets", {"user": who}) for who in asked)
    }
    assert len(answers) == 1
    assert {letter.to for letter in town.post.deliver(town.world)} == {"bob@example.com", "nobody@example.com"}
    assert "There is none" in town.post.letters[-1].text
    assert town.ask("POST", "/password-resets", {"user": "a\nb"}) == (400, "REQUEST_INVALID")


def test_codes_of_one_purpose_are_of_no_other(town: Town) -> None:
    """A code for an account sets no password, and one for a password makes no account."""
    town.give_email("bob", "bob@example.com")
    town.ask("POST", "/registrations", {"email": AT})
    register = town.code()
    town.ask("POST", "/password-resets", {"user": "bob"})
    reset = town.code()
    choice = {"password": "another-password"}
    assert town.ask("POST", "/password-resets/confirm", {**choice, "code": register}) == (400, "CODE_INVALID")
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": reset}) == (400, "CODE_INVALID")


def test_administrators_make_codes_without_mail(door: Door) -> None:
    """A code to hand over works once, names who made it, and voids the one before; nobody else makes one."""
    older = door.send("admin", "POST", "/users/bob/reset-code")["code"]
    code = door.send("admin", "POST", "/users/bob/reset-code")["code"]
    choice = {"password": "another-password"}
    assert door.ask("", "POST", "/password-resets/confirm", {**choice, "code": older}).status == 400
    door.send("", "POST", "/password-resets/confirm", {**choice, "code": code})
    assert door.events("user.reset-code") == [("admin", "bob", {})] * 2
    assert door.events("user.password") == [("bob", "bob", {"by": "reset code", "made_by": "admin"})]
    assert door.ask("alice", "POST", "/users/bob/reset-code").status == 403
    assert door.ask("admin", "POST", "/users/nobody/reset-code").status == 404


def test_nobody_makes_a_code_for_themselves(door: Door) -> None:
    """A token of an administrator does not become their password."""
    token = door.send("admin", "POST", "/users/admin/tokens", {"name": "x", "scopes": ["admin"]})["secret"]
    answer = door.ask("", "POST", "/users/admin/reset-code", {}, authorization=f"Bearer {token}")
    assert (answer.status, answer.code) == (403, "DENIED")


def test_a_user_gives_their_address(town: Town) -> None:
    """With the password a code comes to the new address, and only its owner, once, confirms it."""
    path, document = "/users/bob/email", {"email": AT, "password": password_of("bob")}
    assert town.door.send("bob", "GET", path) == {"email": None, "verified_at": None}
    assert town.ask("PUT", path, {"email": AT}, "bob") == (403, "DENIED")
    assert town.ask("PUT", path, {**document, "password": "wrong"}, "bob") == (403, "DENIED")
    assert town.ask("PUT", path, {**document, "verified": True}, "bob") == (403, "DENIED")
    assert town.ask("PUT", path, document, "bob") == (202, "")
    code = town.code()
    assert town.door.send("bob", "GET", path)["email"] is None
    assert town.ask("POST", "/users/carol/email/confirm", {"code": code}, "carol") == (400, "CODE_INVALID")
    assert town.ask("POST", "/users/bob/email/confirm", {"code": code}, "admin") == (403, "DENIED")
    assert town.door.send("bob", "POST", "/users/bob/email/confirm", {"code": code})["email"] == AT
    assert town.ask("POST", "/users/bob/email/confirm", {"code": code}, "bob") == (400, "CODE_INVALID")
    assert town.door.events("user.email") == [("bob", "bob", {"email": AT})]
    assert town.ask("GET", path, None, "alice") == (403, "DENIED")
    assert town.door.send("admin", "GET", path)["email"] == AT


def test_an_address_belongs_to_one(town: Town) -> None:
    """Whose it is, is told only to whoever reads its mail, and to administrators who vouch for it."""
    town.give_email("bob", AT)
    assert town.ask("PUT", "/users/carol/email", {"email": AT.upper(), "verified": True}, "admin") == (
        409,
        "ALREADY_EXISTS",
    )
    document = {"email": AT, "password": password_of("carol")}
    assert town.ask("PUT", "/users/carol/email", document, "carol") == (202, "")
    code = town.code()
    assert town.ask("POST", "/users/carol/email/confirm", {"code": code}, "carol") == (409, "ALREADY_EXISTS")


def test_an_address_is_removed(town: Town) -> None:
    """By its owner or an administrator, with the codes that were sent to it."""
    town.give_email("bob", AT)
    town.ask("POST", "/password-resets", {"user": "bob"})
    code = town.code()
    assert town.ask("DELETE", "/users/bob/email", None, "alice") == (403, "DENIED")
    town.door.send("bob", "DELETE", "/users/bob/email")
    town.door.send("admin", "DELETE", "/users/bob/email")
    assert town.door.events("user.email.removed") == [("bob", "bob", {})]
    choice = {"code": code, "password": "another-password"}
    assert town.ask("POST", "/password-resets/confirm", choice) == (400, "CODE_INVALID")


def test_mails_of_people_with_accounts_are_bounded(town: Town) -> None:
    """Nobody sends an address more than three an hour by asking that it be theirs."""
    document = {"email": AT, "password": password_of("bob")}
    seen = [town.ask("PUT", "/users/bob/email", document, "bob")[0] for _ in range(MOST_PER_RECIPIENT + 1)]
    assert seen == [202] * MOST_PER_RECIPIENT + [429]


def test_an_owner_invites_by_mail(town: Town) -> None:
    """Whoever has the letter makes an account in the organisation; it can be listed and withdrawn before."""
    town.door.send("admin", "POST", "/organisations", {"name": "acme", "owner": "alice"})
    new = {"email": AT, "organisation": "acme", "role": "member"}
    assert town.ask("POST", "/mail-invitations", new, "bob")[0] == 403
    assert town.ask("POST", "/mail-invitations", {"email": AT}, "alice") == (403, "DENIED")
    made = town.door.send("alice", "POST", "/mail-invitations", new)
    code = town.code()
    assert town.door.send("alice", "GET", "/mail-invitations?organisation=acme")["invitations"] == [made]
    assert town.door.send("admin", "GET", "/mail-invitations")["invitations"] == []
    assert town.ask("POST", "/registrations/confirm", {**ERIN, "code": code}) == (201, "")
    me = town.door.send("erin", "GET", "/whoami")
    assert [each["name"] for each in me["organisations"]] == ["acme"]
    assert town.door.events("invitation.mailed") == [("alice", "acme", {"email": AT, "role": "member"})]
    again = town.door.send("alice", "POST", "/mail-invitations", {**new, "email": "fred@example.com"})
    code = town.code()
    assert town.ask("DELETE", f"/mail-invitations/{again['id']}", None, "bob")[0] == 403
    town.door.send("alice", "DELETE", f"/mail-invitations/{again['id']}")
    assert town.ask("DELETE", f"/mail-invitations/{again['id']}", None, "admin") == (404, "INVITATION_UNKNOWN")
    fred = {"name": "fred", "password": "fred-password", "code": code}
    assert town.ask("POST", "/registrations/confirm", fred) == (400, "CODE_INVALID")


def test_whoever_has_an_account_accepts_with_it(town: Town) -> None:
    """The same letter lets somebody who is here already join; who is in it stays what they are."""
    town.door.send("admin", "POST", "/organisations", {"name": "acme", "owner": "alice"})
    for user in ("bob", "alice"):
        new = {"email": f"{user}@example.com", "organisation": "acme"}
        town.door.send("alice", "POST", "/mail-invitations", new)
        town.door.send(user, "POST", "/mail-acceptances", {"code": town.code()})
    members = town.door.send("alice", "GET", "/organisations/acme/members")["members"]
    assert [(each["user"], each["role"]) for each in members] == [("alice", "owner"), ("bob", "member")]
    town.door.send("admin", "POST", "/mail-invitations", {"email": AT})
    code = town.code()
    town.door.send("bob", "POST", "/mail-acceptances", {"code": code})
    assert town.ask("POST", "/mail-acceptances", {"code": code}, "bob") == (400, "CODE_INVALID")

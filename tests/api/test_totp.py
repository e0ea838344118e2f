"""One-time codes: set up, asked for, used once, guessed in vain, lost and switched off."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from entrepot.core.registry import SECOND, Rules
from entrepot.core.second_factor import FREE_FAILURES, LONGEST_WAIT_SECONDS
from entrepot.core.totp import BEGUN_SECONDS
from entrepot.domain.totp import STEP_SECONDS, code_at
from tests.api.door import Door
from tests.support.browser import browser_at
from tests.support.world import World, basic, password_of

BOB = "/users/bob/totp"
ADMIN = "/users/admin/totp"


class Authenticator:
    """What somebody carries: the secret of one account, and the clock of the world."""

    def __init__(self, door: Door, user: str) -> None:
        self._door = door
        self.user = user
        made = door.send(user, "POST", f"/users/{user}/totp", {"password": password_of(user)})
        self.secret = base64.b32decode(made["secret"])
        self.uri = made["uri"]

    def code(self, steps: int = 0) -> str:
        """The code that it shows, or showed or will show so many steps from now."""
        return code_at(self.secret, self._door.world.clock.now() // SECOND // STEP_SECONDS + steps)

    def confirm(self) -> list[str]:
        """Begin to be asked for codes; the recovery codes."""
        made = self._door.send(self.user, "POST", f"/users/{self.user}/totp/confirm", {"code": self.code()})
        # The code is used up by that.
        self._door.world.clock.advance(seconds=STEP_SECONDS)
        codes: list[str] = made["recovery_codes"]
        return codes


def log_in(door: Door, code: str, user: str = "bob") -> tuple[int, str]:
    """The status of a request with the password and a code, and the code of the error."""
    answer = door.ask(user, "GET", "/whoami", entrepot_otp=code)
    return answer.status, "" if answer.status == 200 else answer.code


def token_of(door: Door, carried: Authenticator) -> str:
    """A personal token that may do everything, as `entrepot login` makes it."""
    new = {"name": "login", "scopes": ["admin"]}
    answer = door.ask(carried.user, "POST", f"/users/{carried.user}/tokens", new, entrepot_otp=carried.code())
    assert answer.status == 201, answer
    door.world.clock.advance(seconds=STEP_SECONDS)
    return str(answer.json["secret"])


def test_a_password_needs_a_code_from_then_on(door: Door) -> None:
    """Once confirmed, the password alone opens nothing, with the code it does, and personal tokens go on."""
    before = door.send("bob", "POST", "/users/bob/tokens", {"name": "laptop"})["secret"]
    carried = Authenticator(door, "bob")
    assert door.ask("bob", "GET", "/whoami").status == 200
    assert len(set(carried.confirm())) == 10
    assert (door.ask("bob", "GET", "/whoami").status, door.ask("bob", "GET", "/whoami").code) == (401, "CODE_NEEDED")
    assert log_in(door, carried.code()) == (200, "")
    assert door.client(token=before).request("GET", "/api/v1/whoami").status == 200
    assert door.events("user.totp.enabled") == [("bob", "bob", {})]
    shown = door.ask("admin", "GET", BOB).json
    assert (shown["enabled"], shown["recovery_codes"]) == (True, 10)


def test_container_clients_are_told_what_to_use(door: Door) -> None:
    """Basic and the token service refuse the password alone, and name what would do; a login password does."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    for target in ("/v2/", "/token?service=registry.test&account=bob"):
        answer = door.world.client("bob").request("GET", target)
        assert (answer.status, "entrepot token create" in answer.json["errors"][0]["message"]) == (401, True)
    made = door.ask("bob", "POST", "/login-password", {}, entrepot_otp=carried.code()).json
    client = door.world.client().with_headers(authorization=basic("bob", made["password"]))
    assert client.request("GET", "/v2/").status == 200


def test_the_page_asks_for_the_code(door: Door) -> None:
    """There is a field for it: the words are not those for clients that have none."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    browser = browser_at(door.world)
    page = browser.sign_in("bob")
    assert (page.status, "type your password again, and the code" in page.body.decode()) == (403, True)
    page = browser.submit(page, "/login", name="bob", password=password_of("bob"), code="000000")
    assert "the code is wrong" in page.body.decode()
    page = browser.submit(page, "/login", name="bob", password=password_of("bob"), code=carried.code())
    assert page.status == 303


def test_who_does_not_know_the_password_learns_nothing(door: Door) -> None:
    """A wrong password is answered alike for somebody with codes, somebody without, and nobody."""
    Authenticator(door, "bob").confirm()
    answers = [
        door.ask("", "GET", "/whoami", authorization=basic(name, "wrong-password"), entrepot_otp="123456")
        for name in ("bob", "carol", "nobody")
    ]
    assert len({(answer.status, answer.body) for answer in answers}) == 1


def test_a_code_is_good_once(door: Door) -> None:
    """Neither the same code nor an older one of the window opens anything again, in whichever worker."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    code, older = carried.code(), carried.code(-1)
    assert log_in(door, code) == (200, "")
    assert log_in(door, code) == (401, "CODE_NEEDED")
    assert log_in(door, older) == (401, "CODE_NEEDED")
    door.world.restart()
    assert log_in(Door.again(door), code) == (401, "CODE_NEEDED")


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)])
def test_clocks_may_be_a_step_apart(door: Door, steps: int, status: int) -> None:
    """The code before and the one after are good as well, and no others."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    door.world.clock.advance(seconds=10 * STEP_SECONDS)
    assert log_in(door, carried.code(steps))[0] == status


def test_guessing_waits(door: Door) -> None:
    """After some wrong codes in a row even the right one is refused for a while, at most an hour."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    wrong = "000000" if carried.code() != "000000" else "000001"
    for _ in range(FREE_FAILURES):
        assert log_in(door, wrong) == (401, "CODE_NEEDED")
    assert log_in(door, carried.code()) == (401, "CODE_NEEDED")
    door.world.clock.advance(seconds=STEP_SECONDS)
    assert log_in(door, carried.code()) == (200, "")
    for _ in range(30):
        log_in(door, wrong)
        door.world.clock.advance(seconds=LONGEST_WAIT_SECONDS)
    assert log_in(door, carried.code()) == (200, "")


def test_recovery_codes_are_good_once(door: Door) -> None:
    """However it is typed, a recovery code logs in once, which is told; new ones void the old ones."""
    carried = Authenticator(door, "bob")
    first, second, *_ = carried.confirm()
    assert log_in(door, first.upper().replace("-", " ")) == (200, "")
    assert log_in(door, first) == (401, "CODE_NEEDED")
    assert door.events("user.totp.recovered") == [("bob", "bob", {"left": 9})]
    recorded = door.world.rows("select account, address, method from audit where action = 'user.totp.recovered'")
    assert recorded == [(door.world.ids["bob"], "198.51.100.7", "password-and-code")]
    bearer = f"Bearer {token_of(door, carried)}"
    proof = {"password": password_of("bob"), "code": carried.code()}
    answer = door.ask("", "POST", f"{BOB}/recovery-codes", proof, authorization=bearer)
    assert (answer.status, len(answer.json["recovery_codes"])) == (200, 10)
    assert log_in(door, second) == (401, "CODE_NEEDED")
    assert log_in(door, answer.json["recovery_codes"][0]) == (200, "")


def test_codes_of_another_user_are_wrong(door: Door) -> None:
    """Neither the authenticator nor a recovery code of somebody else is good."""
    mine, theirs = Authenticator(door, "bob"), Authenticator(door, "carol")
    mine.confirm()
    recovery = theirs.confirm()
    assert log_in(door, theirs.code()) == (401, "CODE_NEEDED")
    assert log_in(door, recovery[0]) == (401, "CODE_NEEDED")


def test_switching_off_takes_both(door: Door) -> None:
    """The owner proves password and code; either alone changes nothing."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    bearer = f"Bearer {token_of(door, carried)}"

    def disable(**proof: str) -> tuple[int, str]:
        answer = door.ask("", "POST", f"{BOB}/disable", proof, authorization=bearer)
        return answer.status, "" if answer.status == 204 else answer.code

    assert disable(code=carried.code()) == (403, "DENIED")
    assert disable(password="wrong", code=carried.code()) == (403, "DENIED")
    assert disable(password=password_of("bob")) == (401, "CODE_NEEDED")
    assert disable(password=password_of("bob"), code=carried.code()) == (204, "")
    assert door.ask("bob", "GET", "/whoami").status == 200
    assert door.events("user.totp.disabled") == [("bob", "bob", {})]
    assert disable(password=password_of("bob"), code=carried.code()) == (409, "CONFLICT")


def test_administrators_switch_off_for_others(door: Door) -> None:
    """Who lost everything asks an administrator, who is named in the event; nobody else can."""
    Authenticator(door, "bob").confirm()
    assert door.ask("alice", "POST", f"{BOB}/disable", {}).status == 403
    assert door.ask("alice", "GET", BOB).status == 403
    assert door.ask("admin", "POST", f"{BOB}/recovery-codes", {}).status == 403
    door.send("admin", "POST", f"{BOB}/disable", {})
    assert door.ask("bob", "GET", "/whoami").status == 200
    assert door.events("user.totp.disabled") == [("admin", "bob", {})]
    assert door.ask("admin", "POST", f"{BOB}/disable", {}).status == 409
    assert door.ask("admin", "POST", f"{ADMIN}/disable", {}).status == 403


def test_setting_up_has_an_order(door: Door) -> None:
    """For oneself, by the password, then confirmed with a right code, and once."""
    assert door.ask("admin", "POST", BOB, {"password": password_of("bob")}).status == 403
    assert door.ask("bob", "POST", BOB, {"password": "wrong"}).status == 403
    assert door.ask("bob", "POST", f"{BOB}/confirm", {"code": "123456"}).status == 409
    narrow = door.send("bob", "POST", "/users/bob/tokens", {"name": "laptop"})["secret"]
    answer = door.ask("", "POST", BOB, {"password": password_of("bob")}, authorization=f"Bearer {narrow}")
    assert answer.status == 401
    forgotten, carried = Authenticator(door, "bob"), Authenticator(door, "bob")
    assert door.ask("bob", "POST", f"{BOB}/confirm", {"code": forgotten.code()}).code == "CODE_INVALID"
    carried.confirm()
    bearer = f"Bearer {token_of(door, carried)}"
    assert door.ask("", "POST", BOB, {"password": password_of("bob")}, authorization=bearer).status == 409
    assert door.ask("", "POST", f"{BOB}/confirm", {"code": carried.code()}, authorization=bearer).status == 409


def test_the_picture_names_the_registry(door: Door) -> None:
    """The URI has the issuer and the user before the secret, as authenticators show them."""
    parts = urlsplit(Authenticator(door, "bob").uri)
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/Entrepot:bob")
    query = parse_qs(parts.query)
    assert (query["issuer"], query["digits"], query["period"]) == (["Entrepot"], ["6"], ["30"])


def test_what_was_logged_in_before_is_void(door: Door) -> None:
    """A token that was asked for by the password alone ends when codes begin."""
    token = door.world.token("bob", "repository:pub/app:pull")
    door.world.clock.advance(seconds=1)
    Authenticator(door, "bob").confirm()
    assert door.client(token=token).request("GET", "/api/v1/repositories/pub%2Fapp/tags").status == 401


def test_secrets_lie_encrypted(door: Door) -> None:
    """Neither the secret nor a recovery code is in the database as it is, and events hold nothing of them."""
    carried = Authenticator(door, "bob")
    codes = carried.confirm()
    stored = repr(door.world.rows("select * from totp")) + repr(door.world.rows("select * from recovery_code"))
    stored += repr(door.world.rows("select * from event"))
    assert not any(word in stored for word in (base64.b32encode(carried.secret).decode(), carried.secret.hex(), *codes))


def test_a_removed_user_leaves_nothing(door: Door) -> None:
    """Whoever gets the name next starts without codes."""
    Authenticator(door, "bob").confirm()
    door.send("admin", "DELETE", "/users/bob")
    assert door.world.rows("select * from totp") == door.world.rows("select * from recovery_code") == []


@pytest.mark.parametrize(
    ("required", "user", "status"),
    [("off", "bob", 200), ("administrators", "bob", 200), ("administrators", "admin", 401), ("everyone", "bob", 401)],
)
def test_codes_may_be_required(required: str, user: str, status: int) -> None:
    """Who must have codes and has none is told how to set them up, and by the password can do only that."""
    with World() as world:
        door = Door(world)
        token = door.send(user, "POST", f"/users/{user}/tokens", {"name": "laptop"})["secret"]
        world.rules = Rules(require_totp=required)  # type: ignore[arg-type]
        world.restart()
        door = Door.again(door)
        answer = door.ask(user, "GET", "/whoami")
        assert answer.status == status
        assert door.client(token=token).request("GET", "/api/v1/whoami").status == 200
        if status == 401:
            assert (answer.code, f"entrepot user totp enable {user}" in answer.json["errors"][0]["message"]) == (
                "ENROLMENT_NEEDED",
                True,
            )
            carried = Authenticator(door, user)
            carried.confirm()
            assert log_in(door, carried.code(), user) == (200, "")


def test_codes_are_for_passwords_alone(door: Door) -> None:
    """With a token, a login password, the name of machines or nothing, a code that is sent along changes nothing."""
    secret = door.send("bob", "POST", "/users/bob/tokens", {"name": "laptop"})["secret"]
    for header in (f"Bearer {secret}", basic("bob", secret)):
        assert door.ask("", "GET", "/whoami", authorization=header, entrepot_otp="123456").status == 200
    for header in (basic("", ""), basic("oidc", "x"), "Basic !"):
        assert door.ask("", "GET", "/whoami", authorization=header, entrepot_otp="123456").status == 401
    assert door.ask("bob", "GET", "/whoami", entrepot_otp="123456").status == 200


def test_the_page_asks_for_a_code(door: Door) -> None:
    """A browser is let in with the password and a code, once; with the password alone it is told what is missing."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    door.world.clock.advance(seconds=STEP_SECONDS)
    browser, code = browser_at(door.world), carried.code()
    alone = browser.submit(browser.get("/login"), "/login", name="bob", password=password_of("bob"))
    assert (alone.status, b"code" in alone.body.partition(b'role="alert"')[2][:200]) == (403, True)
    assert "entrepot" not in browser.cookies
    wrong = browser.submit(browser.get("/login"), "/login", name="bob", password="wrong", code=code)
    assert b"wrong user name or password" in wrong.body
    assert (
        browser.submit(browser.get("/login"), "/login", name="bob", password=password_of("bob"), code=code).status
        == 303
    )
    other = browser_at(door.world)
    again = other.submit(other.get("/login"), "/login", name="bob", password=password_of("bob"), code=code)
    assert again.status == 403


def test_people_with_codes_do_not_lock_themselves_out(door: Door) -> None:
    """A password that is right counts as no guess, however often its code is still to come."""
    Authenticator(door, "bob").confirm()
    browser = browser_at(door.world)
    for _ in range(door.world.registry.rules.lockout_failures + 5):
        page = browser.submit(browser.get("/login"), "/login", name="bob", password=password_of("bob"))
        assert page.status == 403


def test_the_page_says_when_to_come_again(door: Door) -> None:
    """Too many wrong passwords are 429 with the time, also on the page."""
    browser = browser_at(door.world)
    for _ in range(door.world.registry.rules.lockout_failures):
        assert browser.submit(browser.get("/login"), "/login", name="bob", password="wrong").status == 403
    page = browser.submit(browser.get("/login"), "/login", name="bob", password="wrong")
    assert (page.status, int(page["retry-after"]) > 0) == (429, True)


def test_confirming_is_not_guessed(door: Door) -> None:
    """The first code may be typed as it is shown; wrong ones make the next wait, and what was begun ends in an hour."""
    carried = Authenticator(door, "bob")
    wrong = "000000" if carried.code() != "000000" else "000001"

    def confirm(code: str) -> tuple[int, str]:
        answer = door.ask("bob", "POST", f"{BOB}/confirm", {"code": code})
        return answer.status, "" if answer.status == 200 else answer.json["errors"][0]["message"]

    for _ in range(FREE_FAILURES):
        assert "the code is wrong" in confirm(wrong)[1]
    assert "too many wrong codes" in confirm(carried.code())[1]
    door.world.clock.advance(seconds=BEGUN_SECONDS + 1)
    assert confirm(carried.code())[0] == 409
    again = Authenticator(door, "bob")
    assert confirm(f"{again.code()[:3]} {again.code()[3:]}")[0] == 200


def test_recovery_codes_are_told_wherever_they_are_used(door: Door) -> None:
    """Used to change the second factor, they are events as well."""
    carried = Authenticator(door, "bob")
    first, *_ = carried.confirm()
    bearer = f"Bearer {token_of(door, carried)}"
    proof = {"password": password_of("bob"), "code": first}
    assert door.ask("", "POST", f"{BOB}/disable", proof, authorization=bearer).status == 204
    assert door.events("user.totp.recovered") == [("bob", "bob", {"left": 9})]


def test_secrets_that_another_registry_sealed(door: Door) -> None:
    """Where the key of the instance is another one, the answer says what to do, and an administrator can do it."""
    Authenticator(door, "bob").confirm()
    door.world.transact(lambda tx: tx.execute("update totp set secret = $1", base64.b64encode(bytes(60)).decode()))
    answer = door.ask("bob", "GET", "/whoami", entrepot_otp="123456")
    assert (answer.status, "totp disable" in answer.json["errors"][0]["message"]) == (401, True)
    door.send("admin", "POST", f"{BOB}/disable", {})
    assert door.ask("bob", "GET", "/whoami").status == 200


def test_a_code_ends_what_was_mistyped(door: Door) -> None:
    """Whoever gets in with password and code is at home there, and begins anew with what they mistype."""
    carried = Authenticator(door, "bob")
    carried.confirm()
    door.world.transact(lambda tx: tx.execute("delete from familiar"))
    for _ in range(3):
        for _ in range(door.world.registry.rules.lockout_failures - 1):
            assert door.client("").request("GET", "/api/v1/whoami", authorization=basic("bob", "no")).status == 401
        assert log_in(door, carried.code()) == (200, "")
        door.world.clock.advance(seconds=STEP_SECONDS)
    assert len(door.world.rows("select 1 from familiar")) == 1


def test_codes_do_without_a_lockout() -> None:
    """Where nobody is locked out, a code logs in all the same, and nothing is counted."""
    with World(rules=Rules(lockout_failures=0)) as world:
        door = Door(world)
        carried = Authenticator(door, "bob")
        carried.confirm()
        assert log_in(door, carried.code()) == (200, "")
        assert world.rows("select * from attempt") + world.rows("select * from familiar") == []


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("POST", "/users/bob/totp", {}),
        ("PUT", "/users/bob/email", {"email": "bob@example.com"}),
    ],
)
def test_a_token_finds_no_password_out(door: Door, method: str, path: str, document: dict[str, str]) -> None:
    """What asks for the password once more hears as few wrong ones as a login does."""
    token = door.send("bob", "POST", "/users/bob/tokens", {"name": "left lying about", "scopes": ["admin"]})["secret"]
    client = door.client("", token=token)
    statuses = [
        client.request(
            method,
            f"/api/v1{path}",
            json.dumps({**document, "password": f"guess {number}"}).encode(),
            content_type="application/json",
        ).status
        for number in range(door.world.registry.rules.lockout_failures + 2)
    ]
    assert set(statuses) == {403, 429}
    assert statuses[-1] == 429

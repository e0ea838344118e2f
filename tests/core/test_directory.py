"""People of a directory: logging in, teams from groups, and what becomes of those who leave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from entrepot.core.accounts import NewAccount, PasswordChange, add_account, change_password
from entrepot.core.directory import check_accounts
from entrepot.core.identify import log_in, refresh_identity
from entrepot.core.registry import Rules
from entrepot.core.standing import AccountChange, change_account
from entrepot.core.tokens import GenuineCache
from entrepot.domain.access import Identity
from entrepot.domain.directory import Person
from entrepot.domain.errors import AlreadyExists, Conflict, Denied, Unauthenticated, Unavailable
from entrepot.metadata import accounts, directory, grants, namespaces, policy
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.directory import LinkedRow
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Database, Tx, Work
from tests.support.directory import AWAY, DEVS, OPS, FakeDirectory, add_teams, check, events, memberships, secret_of
from tests.support.world import PlainHasher, World, basic, password_of

MINUTES = 60
ERIN = basic("erin", "erin-secret")
WHY = "it does not answer"


@pytest.fixture
def fake() -> FakeDirectory:
    """A directory with erin, who is a developer."""
    fake = FakeDirectory()
    fake.put("erin", DEVS, number="1")
    return fake


@pytest.fixture
def peopled(fake: FakeDirectory) -> Iterator[World]:
    """A registry that asks it, with the teams of `add_teams`."""
    with World(directory=fake) as world:
        add_teams(world)
        yield world


def enter(world: World, name: str, password: str = "") -> Identity:
    """Log in, remembering nothing of former logins."""
    caller = world.run(log_in(world.registry, GenuineCache(), name, password or secret_of(name)))
    assert caller.identity is not None
    assert caller.method in {"ldap", "password"}
    return caller.identity


def version(world: World) -> int:
    """The version of the policy."""
    return int(world.rows("select version from policy")[0][0])


def test_the_first_login_makes_the_account(peopled: World) -> None:
    """With its teams and organisation; a second login, in other letters, finds everything as it should be."""
    first = enter(peopled, "erin")
    assert peopled.registry.policy.snapshot.accounts[first.account].name == "erin"
    assert memberships(peopled, "erin") == [("devs", "ldap"), ("acme", "ldap")]
    assert events(peopled) == [
        ("user.created", "erin", {"administrator": False, "source": "ldap"}),
        ("user.teams", "erin", {"joined": ["acme/devs"], "left": []}),
    ]
    before = version(peopled)
    assert enter(peopled, "ERIN", "erin-secret") == first
    assert version(peopled) == before


def test_groups_give_what_their_teams_may(peopled: World) -> None:
    """A role of the team is the role of whoever is in the group."""
    assert peopled.client().request("GET", "/v2/priv/app/tags/list", authorization=ERIN).status == 404
    (team,) = peopled.rows("select id from team where name = 'devs'")
    peopled.transact(lambda tx: _grant(tx, team[0]))
    peopled.clock.advance(seconds=10 * MINUTES)
    answer = peopled.client().request("GET", "/v2/priv/app/tags/list", authorization=ERIN)
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    assert peopled.client().request("POST", "/v2/priv/app/blobs/uploads/", authorization=ERIN).status == 202


async def _grant(tx: Tx, team: int) -> None:
    await grants.put_role(tx, NewGrantRow(("team", team), "priv", "writer"), "alice", 1)
    await policy.bump_policy_version(tx)


def test_teams_follow_groups_at_login(peopled: World, fake: FakeDirectory) -> None:
    """A new group is a new team, a lost one a lost team, and the policy is new only when something changed."""
    enter(peopled, "erin")
    fake.put("erin", OPS, number="1")
    enter(peopled, "erin")
    assert memberships(peopled, "erin") == [("ops", "ldap"), ("acme", "ldap")]
    fake.put("erin", number="1")
    enter(peopled, "erin")
    assert memberships(peopled, "erin") == []
    moved = [detail for _, _, detail in events(peopled, "user.teams")]
    assert moved[1:] == [{"joined": ["acme/ops"], "left": ["acme/devs"]}, {"joined": [], "left": ["acme/ops"]}]


def test_what_was_given_by_hand_stays(peopled: World, fake: FakeDirectory) -> None:
    """Memberships that somebody here gave are neither taken over nor taken away."""
    fake.put("erin", number="1")
    erin = enter(peopled, "erin").account
    ids = dict(peopled.rows("select name, id from team"))

    async def give(tx: Tx) -> None:
        await tx.execute("insert into team_member (team, account, added_at) values ($1, $2, 1)", ids["devs"], erin)

    peopled.transact(give)
    fake.put("erin", DEVS, OPS, number="1")
    check(peopled)
    assert memberships(peopled, "erin") == [("devs", "local"), ("ops", "ldap"), ("acme", "ldap")]
    fake.put("erin", number="1")
    check(peopled)
    assert memberships(peopled, "erin") == [("devs", "local"), ("acme", "ldap")]
    peopled.transact(lambda tx: tx.execute("delete from team_member"))
    peopled.transact(lambda tx: tx.execute("update organisation_member set source = 'local'"))
    check(peopled)
    assert memberships(peopled, "erin") == [("acme", "local")]


def test_somebody_who_is_gone_loses_everything(peopled: World, fake: FakeDirectory) -> None:
    """Teams, tokens, refresh tokens and logins; once, however often the job looks."""
    account = enter(peopled, "erin").account
    scope = "scope=repository:pub/app:pull&offline_token=true"
    tokens = peopled.client().request("GET", f"/token?{scope}", authorization=ERIN).json
    bearer = peopled.client().with_headers(authorization=f"Bearer {tokens['token']}")
    assert bearer.request("GET", "/v2/").status == 200
    del fake.people["erin"]
    peopled.clock.advance(seconds=1)
    for _ in range(2):
        check(peopled)
    assert memberships(peopled, "erin") == []
    assert bearer.request("GET", "/v2/").status == 401
    with pytest.raises(Unauthenticated):
        peopled.run(refresh_identity(peopled.registry, tokens["refresh_token"]))
    with pytest.raises(Unauthenticated, match="wrong user name or password"):
        enter(peopled, "erin")
    assert peopled.registry.policy.snapshot.accounts[account].is_disabled
    assert events(peopled, "user.disabled") == [
        ("user.disabled", "erin", {"reason": "not in the directory any more"}),
    ]


@pytest.mark.parametrize("way", ["job", "login"])
def test_somebody_who_is_back_is_enabled(peopled: World, fake: FakeDirectory, way: str) -> None:
    """By the job or by their login; what was issued before stays void."""
    account = enter(peopled, "erin").account
    fake.put("erin", DEVS, number="1", is_disabled=True)
    check(peopled)
    with pytest.raises(Unauthenticated, match="wrong user name or password"):
        enter(peopled, "erin")
    assert events(peopled, "user.disabled")[0][2] == {"reason": "disabled in the directory"}
    gone_at = peopled.clock.now()
    peopled.clock.advance(seconds=5 * MINUTES)
    fake.put("erin", DEVS, number="1")
    if way == "job":
        check(peopled)
    assert enter(peopled, "erin").account == account
    found = peopled.registry.policy.snapshot.accounts[account]
    assert (found.is_disabled, found.credentials_since) == (False, gone_at)
    assert memberships(peopled, "erin") == [("devs", "ldap"), ("acme", "ldap")]
    assert len(events(peopled, "user.enabled")) == 1


def test_whom_somebody_here_disabled_stays_disabled(peopled: World, fake: FakeDirectory) -> None:
    """Whether the directory loses and finds them again or not; they are told so when they log in."""
    enter(peopled, "erin")
    assert change(peopled, is_disabled=True).is_disabled
    person = fake.people.pop("erin")
    check(peopled)
    fake.people["erin"] = person
    check(peopled)
    with pytest.raises(Denied, match="your account here is disabled"):
        enter(peopled, "erin")
    assert events(peopled, "user.disabled", "user.enabled") == []
    assert not change(peopled, is_disabled=False).is_disabled
    assert enter(peopled, "erin").name == "erin"


def test_who_is_gone_is_disabled_and_enabled_by_hand(peopled: World, fake: FakeDirectory) -> None:
    """Nobody here enables whom the directory has lost; whoever is disabled here meanwhile stays so when it is back."""
    enter(peopled, "erin")
    person = fake.people.pop("erin")
    check(peopled)
    with pytest.raises(Conflict, match="the directory does not have this user any more"):
        change(peopled, is_disabled=False)
    assert change(peopled, is_admin=True).gone_at == peopled.clock.now()
    found = change(peopled, is_disabled=True)
    assert (found.is_disabled, found.gone_at) == (True, None)
    told = peopled.rows("select detail from event where kind = 'user.disabled' and actor = 'admin'")
    assert told == [('{"disabled":[true,true],"gone":[true,false]}',)]
    fake.people["erin"] = person
    check(peopled)
    with pytest.raises(Denied, match="your account here is disabled"):
        enter(peopled, "erin")
    assert change(peopled, is_disabled=False).can_administer
    assert enter(peopled, "erin").name == "erin"


def test_whom_the_directory_lost_meanwhile_is_enabled_for_minutes(peopled: World, fake: FakeDirectory) -> None:
    """Enabled by hand, somebody who is not there any more is disabled by the next look at the directory."""
    enter(peopled, "erin")
    change(peopled, is_disabled=True)
    del fake.people["erin"]
    check(peopled)
    assert events(peopled, "user.disabled") == []
    change(peopled, is_disabled=False)
    check(peopled)
    assert events(peopled, "user.disabled") == [("user.disabled", "erin", {"reason": "not in the directory any more"})]


def change(world: World, **fields: bool) -> AccountRow:
    """Change erin as the administrator."""
    return world.run(change_account(world.registry, world.caller("admin"), "erin", AccountChange(**fields)))


def test_a_directory_that_is_away_changes_nothing(peopled: World, fake: FakeDirectory) -> None:
    """Its passwords cannot be proved, which is said; local accounts, tokens and teams are as they were."""
    enter(peopled, "erin")
    token = peopled.client().request("GET", "/token", authorization=ERIN).json["token"]
    fake.is_away = True
    before = version(peopled)
    check(peopled)
    assert version(peopled) == before
    with pytest.raises(Unavailable, match=AWAY):
        enter(peopled, "erin")
    answer = peopled.client().request("GET", "/v2/", authorization=basic("erin", "wrong"))
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert answer.json["errors"][0] == {"code": "UNAVAILABLE", "message": AWAY, "detail": {"reasons": [WHY]}}
    assert peopled.client().request("GET", "/v2/", authorization=f"Bearer {token}").status == 200
    assert enter(peopled, "bob", password_of("bob")).name == "bob"


def test_a_proof_is_remembered(peopled: World, fake: FakeDirectory) -> None:
    """As passwords are: within five minutes the directory is not asked again, even if it is away."""
    cache = GenuineCache()
    for _ in range(2):  # the first one changes the policy, which empties the cache
        peopled.run(log_in(peopled.registry, cache, "erin", "erin-secret"))
    fake.is_away = True
    assert peopled.run(log_in(peopled.registry, cache, "erin", "erin-secret")).identity.name == "erin"
    assert len(fake.asked) == 2
    peopled.clock.advance(seconds=5 * MINUTES)
    with pytest.raises(Unavailable):
        peopled.run(log_in(peopled.registry, cache, "erin", "erin-secret"))


@pytest.mark.parametrize("name", ["bob", "admin", "robot$acme", "nul\0"])
def test_names_that_the_directory_is_not_asked_for(peopled: World, fake: FakeDirectory, name: str) -> None:
    """Local accounts, service accounts and what cannot be a name never go out, nor do their passwords."""
    with pytest.raises(Unauthenticated):
        enter(peopled, name, "wrong")
    assert fake.asked == []


def test_a_name_that_is_taken_here_is_not_given_away(peopled: World, fake: FakeDirectory) -> None:
    """A person of the directory does not become the local user of their name, however they spell it."""
    fake.put("bob")
    with pytest.raises(Denied) as caught:
        enter(peopled, "Bob", "bob-secret")
    assert caught.value.detail["reasons"] == ["there is a user of this name"]
    assert peopled.rows("select source from account where name = 'bob'") == [("local",)]


@pytest.mark.parametrize("name", ["token", "a..b", "x" * 64, "é", "taken"])
def test_names_that_cannot_be_accounts(peopled: World, fake: FakeDirectory, name: str) -> None:
    """Reserved, illegal, too long, or a namespace of somebody else's: refused with the reason."""
    peopled.transact(
        lambda tx: namespaces.add_namespace(tx, "taken", peopled.ids["alice"], "private", peopled.clock.now())
    )
    fake.put(name)
    with pytest.raises(Denied, match="cannot be the name of an account") as caught:
        enter(peopled, name)
    assert caught.value.detail["reasons"]
    assert peopled.rows("select name from account where source = 'ldap'") == []


def test_accounts_are_not_made_where_the_settings_say_so(fake: FakeDirectory) -> None:
    """Only those that are there already log in."""
    with World(directory=fake, rules=Rules(create_accounts=False)) as world:
        with pytest.raises(Denied, match="makes no accounts here"):
            enter(world, "erin")
        world.transact(lambda tx: directory.add_linked(tx, "erin", "", world.clock.now()))
        assert enter(world, "erin").name == "erin"


def test_a_name_that_is_given_to_another_person(peopled: World, fake: FakeDirectory) -> None:
    """Does not inherit the account: the old one is disabled, the new one is refused until it is removed."""
    enter(peopled, "erin")
    fake.put("erin", DEVS, number="2")
    with pytest.raises(Denied, match="belonged to somebody else"):
        enter(peopled, "erin")
    check(peopled)
    assert [kind for kind, _, _ in events(peopled)][-1] == "user.disabled"
    peopled.transact(_remove)
    assert enter(peopled, "erin").name == "erin"


async def _remove(tx: Tx) -> None:
    row = await accounts.find_account(tx, "erin")
    assert row is not None
    await accounts.remove_account(tx, row.id)
    await policy.bump_policy_version(tx)


def test_an_account_that_goes_while_it_is_looked_at(peopled: World, fake: FakeDirectory) -> None:
    """Stays gone: the job makes nothing and fails at nothing."""
    enter(peopled, "erin")

    class Removing(FakeDirectory):
        """Somebody removes the account while the directory answers."""

        async def find(self, names: Any) -> Any:
            await peopled.database.transact(_remove)
            return {}

    peopled.directory = Removing()
    peopled.restart()
    check(peopled)
    assert peopled.rows("select name from account where source = 'ldap'") == []
    assert events(peopled, "user.disabled") == []


def test_many_accounts_are_looked_at_in_batches(peopled: World, fake: FakeDirectory) -> None:
    """Each is asked for once."""
    names = [f"user{number:03}" for number in range(120)]

    async def fill(tx: Tx) -> None:
        for name in names:
            await directory.add_linked(tx, name, "", peopled.clock.now())

    peopled.transact(fill)
    check(peopled)
    assert fake.asked == names
    assert peopled.rows("select count(*) from account where gone_at is null and source = 'ldap'") == [(0,)]


def test_without_a_directory_nobody_is_looked_at(world: World) -> None:
    """Accounts of a directory that is not set any more stay, and cannot log in."""
    world.transact(lambda tx: directory.add_linked(tx, "erin", "", world.clock.now()))
    check(world)
    row = world.run(world.database.read(lambda tx: directory.find_linked(tx, "erin")))
    assert isinstance(row, LinkedRow)
    assert row.gone_at is None
    with pytest.raises(Unauthenticated):
        enter(world, "erin", "")


def test_passwords_of_the_directory_are_not_changed_here(peopled: World) -> None:
    """Who tries is told where; and nobody takes the name."""
    enter(peopled, "erin")
    admin = peopled.caller("admin")
    with pytest.raises(Conflict, match="change it there"):
        peopled.run(change_password(peopled.registry, admin, "erin", PasswordChange("a-new-password")))
    with pytest.raises(AlreadyExists):
        peopled.run(add_account(peopled.registry, admin, NewAccount("erin", "a-new-password")))


class Counted:
    """A database and a hasher that count what they are asked."""

    def __init__(self, database: Database) -> None:
        self.statements = 0
        self._database = database

    async def read(self, work: Work[Any]) -> Any:
        return await self._database.read(lambda tx: work(_CountedTx(tx, self)))

    async def transact(self, work: Work[Any], **how: bool) -> Any:
        self.statements += 1
        return await self._database.transact(work, **how)

    async def close(self) -> None:
        await self._database.close()


class _CountedTx:
    def __init__(self, tx: Tx, counted: Counted) -> None:
        self._tx = tx
        self._counted = counted

    async def one(self, sql: str, *arguments: object) -> Any:
        self._counted.statements += 1
        return await self._tx.one(sql, *arguments)

    async def all(self, sql: str, *arguments: object) -> Any:
        self._counted.statements += 1
        return await self._tx.all(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> int:
        self._counted.statements += 1
        return await self._tx.execute(sql, *arguments)


def test_unknown_and_wrong_cost_and_look_the_same(fake: FakeDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody has, a wrong password there and one here: one count and one look, one hash, one answer."""
    hashes: list[str] = []
    verify = PlainHasher.verify

    async def counting(self: PlainHasher, encoded: str, password: str) -> bool:
        hashes.append(password)
        return await verify(self, encoded, password)

    monkeypatch.setattr(PlainHasher, "verify", counting)
    made: list[Counted] = []

    def wrap(database: Database) -> Database:
        made.append(Counted(database))
        return made[-1]

    with World(directory=fake, wrap_database=wrap) as world:
        enter(world, "erin")
        seen = set()
        for name in ("nobody", "erin", "bob", "priv"):
            made[-1].statements = 0
            hashes.clear()
            answer = world.client().request("GET", "/v2/", authorization=basic(name, "wrong"))
            seen.add((answer.status, answer.body, made[-1].statements, len(hashes)))
        assert len(seen) == 1
        ((status, _, statements, count),) = seen
        assert (status, statements, count) == (401, 2, 1)


class Slow(FakeDirectory):
    """A directory whose answer about a password takes so long that something happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.meanwhile = meanwhile
        self.is_slow = False

    async def log_in(self, name: str, password: str) -> Person | None:
        person = await super().log_in(name, password)
        if self.is_slow:
            self.is_slow = False
            await self.meanwhile()
        return person


@pytest.mark.parametrize("name", ["erin", "Erin"])
def test_a_proof_of_before_somebody_was_gone_makes_nothing_that_lasts(name: str) -> None:
    """Whoever was gone from the directory while their password was proved there has to prove it again."""

    async def leave_and_return() -> None:
        there = fake.people.pop("erin")
        world.clock.advance(seconds=1)
        await check_accounts(world.registry)
        fake.people["erin"] = there

    fake = Slow(leave_and_return)
    fake.put("erin", DEVS, number="1")
    with World(directory=fake) as world:
        add_teams(world)
        client = world.client().with_headers(authorization=basic(name, "erin-secret"))
        offline = "/token?service=registry.test&offline_token=true"
        assert client.request("GET", offline).status == 200
        fake.is_slow = True
        world.restart()
        client = world.client().with_headers(authorization=basic(name, "erin-secret"))
        answer = client.request("GET", offline)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert "changed at this moment" in answer.json["errors"][0]["message"]
        world.restart()
        client = world.client().with_headers(authorization=basic(name, "erin-secret"))
        assert client.request("GET", offline).status == 200
        methods = world.rows("select distinct actor, method from audit where action = 'user.disabled'")
        assert methods == [("ldap:directory", "system")]

"""The exchange of a job's token for one of the registry's, and what must not get through it."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from entrepot.authn.outside import HttpOutside
from entrepot.core.registry import Rules
from entrepot.core.tokens import Claims, verify
from entrepot.domain.federation import Issuer, Rule
from entrepot.metadata import accounts, federation, grants, namespaces, policy
from entrepot.metadata.accounts import Faceless
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.issuer import AUDIENCE, EC, ED, KEYS, NOW, RSA, STRANGER, LocalIssuer, public_keys, sign
from tests.support.world import World, basic

FORM = "application/x-www-form-urlencoded"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
CONDITION = '{"networks":["%s"]}'
PUSH_APP = "repository:acme/app:pull,push"


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    """An issuer on this machine."""
    with LocalIssuer() as issuer:
        yield issuer


@pytest.fixture
def world(issuer: LocalIssuer) -> Iterator[World]:
    """A registry that believes it; by the rule `main`, jobs of acme/app on main act as `ci`, writer of all of acme."""
    outside = HttpOutside(is_private_allowed=True)
    with World(rules=Rules(private_addresses=True, token_seconds=3600), outside=outside) as world:
        believe(world, issuer)
        yield world
        world.run(outside.close())


def believe(world: World, issuer: LocalIssuer) -> None:
    """Add the account, the issuer and the rule."""

    async def record(tx: Tx) -> None:
        now = world.clock.now()
        world.ids["ci"] = await accounts.add_faceless(tx, Faceless("ci", "service"), now)
        await namespaces.add_namespace(tx, "acme", world.ids["alice"], "private", now)
        await grants.put_role(tx, NewGrantRow(("account", world.ids["ci"]), "acme", "writer"), "admin", now)
        await federation.add_issuer(tx, Issuer(0, "local", "oidc", issuer.url, (AUDIENCE,)))
        await policy.bump_policy_version(tx)

    world.transact(record)
    put_rule(world, "main")


def put_rule(world: World, name: str, **change: Any) -> None:
    """Keep a rule, by default the one for the main branch."""
    usual: dict[str, Any] = {
        "conditions": {"repository": ("acme/app",), "ref": ("refs/heads/main",)},
        "account": world.ids["ci"],
        "scopes": ("repository:acme/*:pull,push",),
    }
    said = {**usual, **change}

    async def record(tx: Tx) -> None:
        found = await federation.find_issuer(tx, "local")
        assert found is not None
        rule = Rule(0, "local", name, said["conditions"], said["account"], "", said["scopes"], said.get("on", True))
        await federation.put_rule(tx, found.id, rule)

    world.transact(record)


def exchange(world: World, token: str, scope: str = "", **more: str) -> Answer:
    """The exchange, as RFC 8693 has it."""
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN, **more}
    body = urlencode({**form, "scope": scope} if scope else form).encode()
    return world.client().request("POST", "/token", body, content_type=FORM)


def claims_of(world: World, answer: Answer) -> Claims:
    """What the token in an answer says."""
    assert answer.status == 200, answer
    return verify(world.registry.policy.keys, answer.json["token"], world.clock.now(), "access")


def access_of(world: World, answer: Answer) -> list[str]:
    """The scopes in the token of an answer."""
    return [f"{each.type}:{each.name}:{','.join(each.actions)}" for each in claims_of(world, answer).access]


def problem_of(answer: Answer) -> str:
    """What an answer says was wrong, for programs."""
    return str(answer.json["errors"][0]["detail"].get("problem"))


def change_rows(world: World, sql: str, *arguments: object) -> None:
    """Change a row as another process would."""

    async def record(tx: Tx) -> None:
        await tx.execute(sql, *arguments)
        await policy.bump_policy_version(tx)

    world.transact(record)


def events(world: World, kind: str) -> list[tuple[str, str, Any]]:
    """(actor, subject, detail) of every event of a kind."""
    rows = world.rows("select actor, subject, detail from event where kind = $1 order by id", kind)
    return [(actor, subject, json.loads(detail)) for actor, subject, detail in rows]


def test_a_job_gets_what_its_rule_gives(world: World, issuer: LocalIssuer) -> None:
    """Without a scope the token holds all that the rule gives, ends with the job's, and cannot be renewed."""
    answer = exchange(world, issuer.token())
    assert answer["cache-control"] == "no-store"
    assert answer.json["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 300)
    assert "refresh_token" not in answer.json
    assert access_of(world, answer) == ["repository:acme/*:pull,push"]
    assert (claims_of(world, answer).uid, claims_of(world, answer).exp) == (world.ids["ci"], NOW + 300)
    assert events(world, "token.exchanged") == [
        ("ci", "local", {"rule": "main", "claims": "repo:acme/app:ref:refs/heads/main"})
    ]
    assert world.registry.trust.counts == {("local", "exchanged"): 1}


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=["RS256", "ES256", "EdDSA"])
def test_every_algorithm_that_is_taken(world: World, issuer: LocalIssuer, key: Any) -> None:
    """RSA, P-256 and Ed25519 keys prove a token; with an audience among several, and without a key id."""
    assert exchange(world, issuer.token(key)).status == 200
    claims = issuer.claims(aud=["other", AUDIENCE])
    assert exchange(world, sign(claims, key, kid=None)).status == 200


def test_a_token_lasts_a_quarter_of_an_hour_at_most(world: World, issuer: LocalIssuer) -> None:
    """However long the job's token and the registry's own tokens last."""
    answer = exchange(world, issuer.token(exp=NOW + 6 * 3600))
    assert (answer.json["expires_in"], claims_of(world, answer).exp) == (900, NOW + 900)


def test_pushing_and_pulling_with_it(world: World, issuer: LocalIssuer) -> None:
    """What was exchanged pushes as a bearer, as the password of `oidc`, and by the token service within its ceiling."""
    token = exchange(world, issuer.token()).json["token"]
    bearer = world.client().with_headers(authorization=f"Bearer {token}")
    login = world.client().with_headers(authorization=basic("oidc", token))
    assert (bearer.request("GET", "/v2/").status, login.request("GET", "/v2/").status) == (200, 200)
    for client in (bearer, login):
        assert client.request("POST", "/v2/acme/app/blobs/uploads/").status == 202
        assert client.request("POST", "/v2/pub/app/blobs/uploads/").status in {401, 403}
    scopes = "scope=repository:acme/app:pull,push,delete&scope=repository:pub/app:pull&scope=registry:catalog:*"
    answer = login.request("GET", f"/token?offline_token=true&{scopes}")
    assert access_of(world, answer) == ["repository:acme/app:pull,push"]
    assert "refresh_token" not in answer.json
    world.clock.advance(seconds=100)
    assert claims_of(world, login.request("GET", f"/token?{scopes}")).exp == NOW + 300
    assert claims_of(world, bearer.request("GET", f"/token?{scopes}")).exp == NOW + 300
    world.clock.advance(seconds=200)
    assert login.request("GET", "/v2/").status == 401


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("repository:acme/app:pull", ["repository:acme/app:pull"]),
        ("repository:acme/*:*", ["repository:acme/*:pull,push"]),
        ("repository:acme/app:pull,push,delete", [PUSH_APP]),
        ("repository:priv/app:pull", []),
        ("repository:**:pull,push", []),
        ("repository:acme/**:pull", []),
        ("repository:pub/app:pull,push", []),
        ("registry:catalog:*", []),
        ("nonsense", []),
        (f"{PUSH_APP} repository:priv/app:pull", [PUSH_APP]),
    ],
)
def test_a_scope_only_narrows(world: World, issuer: LocalIssuer, scope: str, expected: list[str]) -> None:
    """What is asked for beyond the rule, or beyond the grants of its account, is left out."""
    assert access_of(world, exchange(world, issuer.token(), scope)) == expected


def test_a_ceiling_gives_nothing_by_itself(world: World, issuer: LocalIssuer) -> None:
    """A rule may say more than its account may do; the account decides, at each request."""
    put_rule(world, "main", scopes=("repository:priv/*:pull,push", "repository:acme/app:*"))
    answer = exchange(world, issuer.token())
    assert access_of(world, answer) == ["repository:priv/*:pull,push", PUSH_APP]
    bearer = world.client().with_headers(authorization=f"Bearer {answer.json['token']}")
    assert bearer.request("POST", "/v2/priv/app/blobs/uploads/").status == 403
    change_rows(world, 'delete from "grant" where subject = $1', world.ids["ci"])
    assert bearer.request("POST", "/v2/acme/app/blobs/uploads/").status == 403


@pytest.mark.parametrize(("network", "expected"), [("198.51.100.0/24", [PUSH_APP]), ("10.0.0.0/8", [])])
def test_conditions_of_grants_hold_for_jobs(
    world: World, issuer: LocalIssuer, network: str, expected: list[str]
) -> None:
    """What the account may do only from certain networks, a job does only from there, from the exchange on."""
    change_rows(world, 'update "grant" set conditions = $1 where subject = $2', CONDITION % network, world.ids["ci"])
    answer = exchange(world, issuer.token(), PUSH_APP)
    assert access_of(world, answer) == expected
    whole = exchange(world, issuer.token()).json["token"]
    login = world.client().with_headers(authorization=basic("oidc", whole))
    assert login.request("POST", "/v2/acme/app/blobs/uploads/").status == (202 if expected else 403)
    elsewhere = login.with_scope(client=("203.0.113.9", 1))
    assert elsewhere.request("POST", "/v2/acme/app/blobs/uploads/").status == 403


def b64(content: Any) -> str:
    """A part of a token."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def confused(issuer: LocalIssuer) -> str:
    """A token signed with the text of the public key as a shared secret."""
    body = f"{b64({'alg': 'HS256', 'kid': 'rsa'})}.{b64(issuer.claims())}"
    return f"{body}.{b64(hmac.digest(RSA.as_pem(private=False), body.encode(), 'sha256'))}"


FORGERIES: dict[str, tuple[Any, str]] = {
    "HS256 with the public key": (confused, "algorithm"),
    "none": (lambda own: f"{b64({'alg': 'none'})}.{b64(own.claims())}.e30", "algorithm"),
    "none without a signature": (lambda own: f"{b64({'alg': 'none'})}.{b64(own.claims())}.", "malformed"),
    "RS256 named for a P-256 key": (lambda own: sign(own.claims(), RSA, kid="ec"), "algorithm"),
    "RS512": (lambda own: sign(own.claims(), RSA, alg="RS512"), "algorithm"),
    "the key of somebody else": (lambda own: sign(own.claims(), STRANGER), "signature"),
    "a key that nobody has": (lambda own: sign(own.claims(), RSA, kid="gone"), "key"),
    "a key of its own": (lambda own: sign(own.claims(), STRANGER, jwk=STRANGER.as_dict(private=False)), "signature"),
    "changed claims": (
        lambda own: ".".join(
            [own.token().split(".")[0], b64(own.claims(ref="refs/tags/v1")), own.token().split(".")[2]]
        ),
        "signature",
    ),
    "another audience": (lambda own: own.token(aud="other"), "audience"),
    "no audience": (lambda own: own.token(aud=None), "audience"),
    "audiences that are no texts": (lambda own: own.token(aud=[1, None]), "audience"),
    "another issuer": (lambda own: own.token(iss="https://evil.example"), "issuer"),
    "almost the issuer": (lambda own: own.token(iss=own.url + "/"), "issuer"),
    "no issuer": (lambda own: own.token(iss=None), "issuer"),
    "an issuer with a NUL": (lambda own: own.token(iss=own.url + "\0"), "issuer"),
    "an issuer that is no text": (lambda own: own.token(iss=7), "issuer"),
    "expired": (lambda own: own.token(exp=NOW - 60), "expired"),
    "never ending": (lambda own: own.token(exp=None), "malformed"),
    "an end that is no time": (lambda own: own.token(exp="tomorrow"), "malformed"),
    "an end that is true": (lambda own: own.token(exp=True), "malformed"),
    "of the future": (lambda own: own.token(nbf=NOW + 61), "early"),
    "issued in the future": (lambda own: own.token(iat=NOW + 61), "early"),
    "too long": (lambda own: own.token(filler="x" * 16_384), "malformed"),
    "no token": (lambda _: "nonsense", "malformed"),
    "a list": (lambda own: f"{b64([])}.{b64(own.claims())}.e30", "malformed"),
    "too deep": (lambda own: f"{b64({'alg': 'RS256'})}.{b64(b'[' * 9000)}.e30", "malformed"),
    "no JSON": (lambda own: f"{b64({'alg': 'RS256'})}.{b64(b'{')}.e30", "malformed"),
    "a key id that is no text": (lambda own: f"{b64({'alg': 'RS256', 'kid': 1})}.{b64(own.claims())}.e30", "malformed"),
    "critical extensions": (
        lambda own: sign(own.claims(), RSA).replace(
            sign(own.claims(), RSA).split(".")[0], b64({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1})
        ),
        "signature",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_refused(world: World, issuer: LocalIssuer, forgery: str) -> None:
    """Whatever is wrong with a token, it opens nothing, the answer says what it was, and no token is repeated."""
    make, problem = FORGERIES[forgery]
    token = make(issuer)
    answer = exchange(world, token)
    assert (answer.status, answer.code, problem_of(answer)) == (401, "UNAUTHORIZED", problem), answer
    assert token.encode() not in answer.body
    assert events(world, "token.exchanged") == []
    assert [result for _, result in world.registry.trust.counts] == [problem]


@pytest.mark.parametrize(
    "change", [{"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}, {"nbf": None, "iat": None}]
)
def test_clocks_may_differ_by_a_minute(world: World, issuer: LocalIssuer, change: dict[str, Any]) -> None:
    """A token that is a little too old or too young is taken, and gives no more than what the leeway leaves."""
    answer = exchange(world, issuer.token(**change))
    assert 0 < answer.json["expires_in"] <= 300
    if "exp" in change:
        assert answer.json["expires_in"] == 1


def test_a_token_counts_once(world: World, issuer: LocalIssuer) -> None:
    """The second exchange says that it is one; another signature over the same claims does not help."""
    for claims, key in ((issuer.claims(), RSA), (issuer.claims(jti=None), EC)):
        assert exchange(world, sign(claims, key)).status == 200
        answer = exchange(world, sign(claims, key))
        assert (answer.status, problem_of(answer)) == (401, "replay")
        assert "exchanged before" in answer.json["errors"][0]["message"]
    assert [detail["problem"] for _, _, detail in events(world, "token.refused")] == ["replay"]


def test_of_two_at_once_one_gets_in(world: World, issuer: LocalIssuer) -> None:
    """Two workers over one database that are shown the same token at the same time do not both take it."""
    form = urlencode({"grant_type": EXCHANGE, "subject_token": issuer.token(), "subject_token_type": ID_TOKEN}).encode()
    clients = [world.client(), Client(world.sibling(), world.runner)] * 2

    async def race() -> list[Answer]:
        return await asyncio.gather(*(each.exchange("POST", "/token", form, content_type=FORM) for each in clients))

    assert sorted(answer.status for answer in world.run(race())) == [200, 401, 401, 401]


def test_what_was_taken_is_forgotten_when_it_is_over(world: World, issuer: LocalIssuer) -> None:
    """Rows of tokens that nobody would take any more are swept by those that follow."""
    exchange(world, issuer.token())
    world.clock.advance(seconds=1000)
    assert exchange(world, issuer.token(iat=NOW + 1000, nbf=NOW + 1000, exp=NOW + 1300)).status == 200
    assert len(world.rows("select fingerprint from federation_use")) == 1


@pytest.mark.parametrize(
    "claims",
    [{"repository": "evil/app"}, {"ref": "refs/heads/other"}, {"repository": None}, {"ref": ["x", "y"]}],
)
def test_claims_that_fit_no_rule(world: World, issuer: LocalIssuer, claims: dict[str, Any]) -> None:
    """A genuine token of somebody else gets 403; the token is not used up, and no answer tells the rules."""
    token = issuer.token(**claims)
    for _ in range(2):
        answer = exchange(world, token)
        assert (answer.status, answer.code, problem_of(answer)) == (403, "DENIED", "rule")
    assert b"acme/app" not in answer.body
    assert len(events(world, "token.refused")) == 1


def test_the_first_rule_that_fits(world: World, issuer: LocalIssuer) -> None:
    """Rules are tried by name; whoever names one gets that or nothing."""
    put_rule(world, "all", conditions={"repository": ("acme/*",)}, scopes=("repository:acme/app:pull",))
    assert access_of(world, exchange(world, issuer.token())) == ["repository:acme/app:pull"]
    assert access_of(world, exchange(world, issuer.token(), rule="main")) == ["repository:acme/*:pull,push"]
    answer = exchange(world, issuer.token(ref="refs/heads/other"), rule="main")
    assert (answer.status, problem_of(answer)) == (403, "rule")


@pytest.mark.parametrize(
    ("sql", "status", "problem"),
    [
        ("update federation_rule set is_enabled = 0", 403, "rule"),
        ("update issuer set is_enabled = 0", 401, "issuer"),
        ("update account set is_disabled = 1 where name = 'ci'", 403, "account"),
    ],
)
def test_what_is_disabled_lets_nobody_in(
    world: World, issuer: LocalIssuer, sql: str, status: int, problem: str
) -> None:
    """A rule, an issuer, an account: from the next request on."""
    assert exchange(world, issuer.token()).status == 200
    change_rows(world, sql)
    answer = exchange(world, issuer.token())
    assert (answer.status, problem_of(answer)) == (status, problem)


def test_a_disabled_account_ends_what_was_exchanged(world: World, issuer: LocalIssuer) -> None:
    """Tokens that were given before open nothing from the next request on."""
    token = exchange(world, issuer.token()).json["token"]
    login = world.client().with_headers(authorization=basic("oidc", token))
    assert login.request("GET", "/v2/").status == 200
    change_rows(world, "update account set is_disabled = 1 where name = 'ci'")
    assert login.request("GET", "/v2/").status == 401


def test_an_account_that_this_process_has_not_seen(world: World, issuer: LocalIssuer) -> None:
    """A service account and a rule that another process made a moment ago work at once."""

    async def record() -> None:
        async def add(tx: Tx) -> None:
            world.ids["new"] = await accounts.add_faceless(tx, Faceless("new", "service"), world.clock.now())
            await policy.bump_policy_version(tx)
            await tx.execute("update federation_rule set account = $1", world.ids["new"])

        await world.database.transact(add)

    world.run(record())
    assert claims_of(world, exchange(world, issuer.token())).uid == world.ids["new"]


def test_an_issuer_that_is_away(world: World, issuer: LocalIssuer) -> None:
    """Answers 503 with the reason, also to a flood without asking again; others and our own tokens go on."""
    issuer.status = 500
    for _ in range(3):
        answer = exchange(world, issuer.token())
        assert (answer.status, answer.code, problem_of(answer)) == (503, "UNAVAILABLE", "away")
        assert "status 500" in answer.json["errors"][0]["message"]
    assert len(issuer.asked) == 1
    assert world.client("alice").request("GET", "/token").status == 200


def test_a_flood_of_unknown_keys_asks_once(world: World, issuer: LocalIssuer) -> None:
    """Tokens that name keys which nobody has do not become requests to the issuer."""
    assert exchange(world, issuer.token()).status == 200
    asked = len(issuer.asked)
    for number in range(20):
        assert problem_of(exchange(world, sign(issuer.claims(), RSA, kid=f"gone-{number}"))) == "key"
    assert len(issuer.asked) == asked


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "subject_token_type"),
        ({"subject_token_type": ""}, "subject_token_type"),
        ({"subject_token": ""}, "subject_token"),
        ({"actor_token": "x"}, "actor_token"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "requested_token_type"),
        ({"audience": "somewhere.else"}, "audience"),
    ],
)
def test_exchanges_that_are_not_done(world: World, issuer: LocalIssuer, change: dict[str, str], field: str) -> None:
    """What RFC 8693 has besides is refused with the name of the field."""
    answer = exchange(world, issuer.token(), **change)
    assert (answer.status, answer.json["errors"][0]["detail"]["field"]) == (400, field)


def test_the_audience_may_be_said(world: World, issuer: LocalIssuer) -> None:
    """An exchange for this registry by name is one."""
    assert exchange(world, issuer.token(), audience=AUDIENCE).status == 200


def test_an_id_token_is_no_password_unless_allowed(world: World, issuer: LocalIssuer) -> None:
    """As the password of `oidc` it is refused with what to do, and stays good for its one exchange."""
    token = issuer.token()
    login = world.client().with_headers(authorization=basic("oidc", token))
    answer = login.request("GET", "/token")
    assert (answer.status, problem_of(answer)) == (401, "once")
    assert "ci-login" in answer.json["errors"][0]["message"]
    assert exchange(world, token).status == 200


def test_reusable_tokens_are_passwords_until_they_end(world: World, issuer: LocalIssuer) -> None:
    """Where the issuer is reusable, docker logs in with the job's token and asks for each scope with it."""
    change_rows(world, "update issuer set is_reusable = 1")
    world.push("acme/app", image(), "v1")
    login = world.client().with_headers(authorization=basic("oidc", issuer.token()))
    assert login.request("GET", "/v2/").status == 200
    for _ in range(2):
        answer = login.request("GET", f"/token?scope={quote(PUSH_APP)}")
        assert (access_of(world, answer), claims_of(world, answer).exp) == ([PUSH_APP], NOW + 300)
    assert login.request("GET", "/v2/acme/app/manifests/v1").status == 200
    change_rows(world, "update issuer set is_enabled = 0")
    assert login.request("GET", "/v2/acme/app/manifests/v1").status == 401
    change_rows(world, "update issuer set is_enabled = 1")
    world.clock.advance(seconds=400)
    assert problem_of(login.request("GET", "/token")) == "expired"


def test_passwords_of_oidc_that_are_nothing(world: World) -> None:
    """A text that is no token, and a token of nobody, are refused like wrong tokens."""
    for password in ("nonsense", f"{b64({'alg': 'RS256'})}.{b64({'iss': 'https://evil.example'})}.e30"):
        login = world.client().with_headers(authorization=basic("oidc", password))
        assert login.request("GET", "/v2/").status == 401


def test_keys_that_turn_over(world: World, issuer: LocalIssuer) -> None:
    """A pinned issuer is not asked at all, and a token by a key that is not pinned is refused."""
    change_rows(world, "update issuer set jwks = $1", json.dumps(public_keys(EC)))
    issuer.answers[KEYS] = {"keys": []}
    assert exchange(world, issuer.token(EC)).status == 200
    assert problem_of(exchange(world, issuer.token(RSA))) == "key"
    assert issuer.asked == []


def test_base64_of_another_alphabet_is_none(world: World, issuer: LocalIssuer) -> None:
    """Only the URL alphabet, without padding, is a token."""
    head, body, tail = issuer.token().split(".")
    assert problem_of(exchange(world, f"{head}.{body}.{tail}=")) == "malformed"
    assert problem_of(exchange(world, f"{b64encode(b'{}').decode()}.{body}.{tail}")) == "malformed"


@pytest.mark.parametrize("algorithm", [[], {}, 5, None])
def test_algorithms_that_are_no_names(world: World, algorithm: object) -> None:
    """Of anybody, by either door, they are refused as others are that prove nothing."""
    token = f"{b64({'alg': algorithm})}.{b64({})}.AA"
    assert problem_of(exchange(world, token)) == "algorithm"
    assert world.client().request("GET", "/v2/", authorization=basic("oidc", token)).status == 401

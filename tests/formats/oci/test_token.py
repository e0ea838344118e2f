"""The token service, in the spellings of the clients that were watched on the wire."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from entrepot.core.registry import DAY, SECOND
from entrepot.core.tokens import Claims, verify
from entrepot.domain.grants import Conditions
from entrepot.metadata import accounts, grants, policy
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Tx
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.keys import verify_by_jwks
from tests.support.world import World, basic, password_of

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def alice(world: World) -> Client:
    """The owner of a private repository."""
    world.push("priv/app", image(), "v1", user="alice")
    return world.client("alice")


def claims_of(world: World, answer: Answer) -> Claims:
    """What the token in an answer says."""
    assert answer.status == 200, answer
    assert answer.json["token"] == answer.json["access_token"]
    return verify(world.registry.policy.keys, answer.json["token"], world.clock.now(), "access")


def access_of(world: World, answer: Answer) -> list[str]:
    """The scopes in the token of an answer."""
    return [f"{each.type}:{each.name}:{','.join(each.actions)}" for each in claims_of(world, answer).access]


def post(client: Client, *pairs: tuple[str, str], **headers: str) -> Answer:
    """The OAuth2 form."""
    return client.request("POST", "/token", urlencode(pairs).encode(), **{"content_type": FORM, **headers})


def password_form(user: str = "alice", password: str = "", **more: str) -> list[tuple[str, str]]:
    """The password grant."""
    pairs = {"grant_type": "password", "username": user, "password": password or password_of(user), **more}
    return list(pairs.items())


def test_a_token_document(world: World, alice: Client) -> None:
    """Both names of the token, how long it holds and since when; kept by nobody."""
    answer = alice.request("GET", "/token?service=registry.test&scope=repository:priv/app:pull")
    assert answer["content-type"] == "application/json"
    assert answer["cache-control"] == "no-store"
    assert set(answer.json) == {"token", "access_token", "expires_in", "issued_at"}
    assert answer.json["expires_in"] == 900
    assert answer.json["issued_at"] == "2026-09-21T14:13:20Z"
    claims = claims_of(world, answer)
    assert (claims.uid, claims.use) == (world.ids["alice"], "access")
    assert claims.exp - claims.iat == 900


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # docker and podman login ask for no scope at all.
        ("account=alice&client_id=docker&offline_token=true&service=registry.test", []),
        # skopeo and podman: account beside the scope; crane: push before pull; the slash may be escaped.
        (
            "account=alice&scope=repository%3Apriv%2Fapp%3Apull%2Cpush&service=registry.test",
            ["repository:priv/app:pull,push"],
        ),
        ("scope=repository:priv/app:push,pull", ["repository:priv/app:push,pull"]),
        # crane and docker mount with two scopes, repeated or in one parameter.
        (
            "scope=repository:priv/two:push,pull&scope=repository:priv/app:pull",
            ["repository:priv/two:push,pull", "repository:priv/app:pull"],
        ),
        (
            "scope=repository:priv/app:pull+repository:priv/app:pull,push",
            ["repository:priv/app:pull,push"],
        ),
        ("scope=repository:priv/app:push,pull,delete", ["repository:priv/app:push,pull,delete"]),
        ("scope=repository:priv/app:*", ["repository:priv/app:pull,push,delete"]),
        ("scope=registry:catalog:*", ["registry:catalog:*"]),
        # What is not hers, not a repository, or no scope at all, is left out, never refused.
        ("scope=repository:bob/app:pull&scope=repository:priv/app:pull", ["repository:priv/app:pull"]),
        ("scope=repository:UPPER:pull&scope=repository(plugin):priv/app:pull,fly", ["repository:priv/app:pull"]),
        ("scope=nonsense&scope=&scope=registry:other:*&scope=repository:priv/app:fly", []),
        ("scope=repository:pub/any:pull,push", ["repository:pub/any:pull,push"]),
    ],
)
def test_scopes_by_get(world: World, alice: Client, query: str, expected: list[str]) -> None:
    """Exactly what may be granted now, under the names that were asked for."""
    assert access_of(world, alice.request("GET", f"/token?{query}")) == expected


def published(world: World, token: str) -> Any:
    """The claims of a token as another service reads them."""
    return verify_by_jwks(world.registry.policy.keys.jwks, token)


@pytest.mark.parametrize(
    ("query", "service"),
    [
        ("", "registry.test"),
        ("?service=", "registry.test"),
        ("?service=registry.test", "registry.test"),
        ("?service=Registry.TEST", "Registry.TEST"),
        ("?service=other.test", "other.test"),
        ("?service=other.test&service=registry.test", "other.test"),
        ("?service=%22%2C%22uid%22%3A1", '","uid":1'),
    ],
)
def test_a_token_is_for_the_service_that_was_asked(world: World, alice: Client, query: str, service: str) -> None:
    """This registry unless another is named; what is for another is signed as such and does nothing here."""
    token = alice.request("GET", f"/token{query}").json["token"]
    claims = published(world, token)
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("http://registry.test", "alice", service)
    answer = world.client().request("GET", "/v2/", authorization=f"Bearer {token}")
    if service.lower() == "registry.test":
        assert answer.status == 200
    else:
        assert answer.status == 401
        assert "for another service" in answer.json["errors"][0]["message"]
        trade = world.client().request("GET", "/token", authorization=f"Bearer {token}")
        assert trade.status == 401


def test_a_token_for_another_service_by_form(world: World, alice: Client) -> None:
    """By password and by refresh token alike, with no more than the user may have here."""
    scope = "repository:priv/app:pull repository:bob/app:pull"
    form = password_form(access_type="offline", service="other.test", scope=scope)
    answer = post(world.client(), *form)
    claims = published(world, answer.json["token"])
    assert claims["aud"] == "other.test"
    assert claims["access"] == [{"type": "repository", "name": "priv/app", "actions": ["pull"]}]
    refresh = answer.json["refresh_token"]
    form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("service", "other.test"), ("scope", scope)]
    assert published(world, post(world.client(), *form).json["token"])["access"] == claims["access"]


def test_a_refresh_token_is_for_nobody_else(world: World, alice: Client) -> None:
    """Its audience is who issued it, and there is no access in it."""
    answer = alice.request("GET", "/token?offline_token=1&service=other.test&scope=repository:priv/app:pull")
    claims = published(world, answer.json["refresh_token"])
    assert (claims["aud"], claims["iss"], claims["access"]) == ("http://registry.test", "http://registry.test", [])


def test_a_service_has_a_name_of_some_length(world: World) -> None:
    """Whoever asks decides what stands in the token, but not how long it is."""
    assert world.client().request("GET", f"/token?service={'a' * 255}").status == 200
    answer = world.client().request("GET", f"/token?service={'a' * 256}")
    assert (answer.status, answer.json["errors"][0]["detail"]) == (400, {"field": "service"})


def test_the_issuer_is_the_public_address() -> None:
    """As the settings have it, whatever address the request came by."""
    with World(public_url="https://registry.example.com/") as world:
        claims = published(world, world.client("alice").request("GET", "/token").json["token"])
        assert (claims["iss"], claims["aud"]) == ("https://registry.example.com", "registry.example.com")


def test_names_are_granted_as_they_were_asked(world: World) -> None:
    """`alpine` is in the token as it was asked for, and covers `library/alpine`."""
    world.push("alpine", image(), "v1")
    token = world.bearer("admin", "repository:alpine:pull")
    for name in ("alpine", "library/alpine"):
        assert token.request("GET", f"/v2/{name}/manifests/v1").status == 200


def test_strangers_have_tokens_too(world: World) -> None:
    """An anonymous token, and one for BuildKit's empty Basic pair: for what is public, without a refresh token."""
    world.push("pub/app", image(), "v1")
    for client in (world.client(), world.client().with_headers(authorization=basic("", ""))):
        query = "scope=repository:pub/app:pull,push&scope=repository:priv/app:pull&offline_token=true"
        answer = client.request("GET", f"/token?{query}")
        assert access_of(world, answer) == ["repository:pub/app:pull"]
        assert claims_of(world, answer).uid == 0
        assert "refresh_token" not in answer.json


def test_containerd_posts_the_password(world: World, alice: Client) -> None:
    """Scopes in one field, separated by spaces; the field comes back as it was sent."""
    scope = "repository:priv/app:pull repository:priv/app:pull,push repository:pub/app:pull"
    form = password_form(client_id="containerd-client", service="registry.test", scope=scope)
    answer = post(world.client(), *form, content_type=f"{FORM}; charset=utf-8")
    assert access_of(world, answer) == ["repository:priv/app:pull,push", "repository:pub/app:pull"]
    assert answer.json["scope"] == scope
    assert "refresh_token" not in answer.json


@pytest.mark.parametrize("query", ["offline_token=true", "offline_token=1"])
def test_a_refresh_token_by_get(world: World, alice: Client, query: str) -> None:
    """Docker logs in once, and then asks for each token with what it was given."""
    refresh = alice.request("GET", f"/token?account=alice&client_id=docker&{query}").json["refresh_token"]
    form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("service", "registry.test")]
    answer = post(world.client(), *form, ("scope", "repository:priv/app:push,pull"))
    assert access_of(world, answer) == ["repository:priv/app:push,pull"]
    assert answer.json["refresh_token"] == refresh
    repeated = post(world.client(), *form, ("scope", "repository:priv/app:pull"), ("scope", "repository:pub/a:pull"))
    assert access_of(world, repeated) == ["repository:priv/app:pull", "repository:pub/a:pull"]


def test_a_refresh_token_by_post(world: World, alice: Client) -> None:
    """`access_type=offline` asks for one; it is no access token, and an access token is no refresh token."""
    answer = post(world.client(), *password_form(access_type="offline"))
    refresh, access = answer.json["refresh_token"], answer.json["token"]
    assert world.client().request("GET", "/v2/", authorization=f"Bearer {refresh}").status == 401
    for token, status in ((refresh, 200), (access, 401), ("nonsense", 401), ("", 401)):
        assert post(world.client(), ("grant_type", "refresh_token"), ("refresh_token", token)).status == status


def test_a_token_makes_no_refresh_token(world: World, alice: Client) -> None:
    """Whoever has only a token cannot turn it into something that lasts, nor into more than it covers."""
    answer = world.bearer("alice", "repository:priv/app:pull").request(
        "GET", "/token?offline_token=true&scope=repository:priv/app:pull,push"
    )
    assert access_of(world, answer) == ["repository:priv/app:pull"]
    assert "refresh_token" not in answer.json


def test_refresh_tokens_expire(world: World, alice: Client) -> None:
    """After the days that the rules say."""
    refresh = alice.request("GET", "/token?offline_token=true").json["refresh_token"]
    form = [("grant_type", "refresh_token"), ("refresh_token", refresh)]
    world.clock.advance(seconds=world.rules.refresh_days * DAY // SECOND - 1)
    assert post(world.client(), *form).status == 200
    world.clock.advance(seconds=1)
    answer = post(world.client(), *form)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        (password_form(password="wrong"), 401),
        (password_form("nobody"), 401),
        (password_form("alice\0"), 401),
        ([("grant_type", "password")], 401),
        ([("grant_type", "refresh_token")], 401),
        ([("grant_type", "client_credentials")], 400),
        ([], 400),
        ([("a", "b")] * 1001, 400),
    ],
)
def test_forms_that_are_refused(world: World, pairs: list[tuple[str, str]], status: int) -> None:
    """401 with a Basic challenge for credentials, 400 for forms; always the specification's JSON."""
    answer = post(world.client(), *pairs)
    assert (answer.status, answer.code) == (status, "UNAUTHORIZED" if status == 401 else "UNSUPPORTED")
    assert answer["www-authenticate"] == ('Basic realm="entrepot"' if status == 401 else "")


def test_bodies_that_are_no_form(world: World) -> None:
    """Not UTF-8, or too large."""
    assert world.client().request("POST", "/token", b"\xff=\xfe").status == 400
    assert world.client().request("POST", "/token", b"a" * 65_537).status == 413


@pytest.mark.parametrize("password", ["correct horse", "ü€😀", "a:b:c", "%41+&=", " "])
def test_passwords_of_any_characters(world: World, password: str) -> None:
    """By Basic and by form."""

    async def record(tx: Tx) -> None:
        await accounts.set_password(tx, world.ids["bob"], f"plain:{password}", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(record)
    assert world.client().request("GET", "/token", authorization=basic("bob", password)).status == 200
    assert post(world.client(), *password_form("bob", password)).status == 200


def test_a_changed_password_voids_every_token(world: World, alice: Client) -> None:
    """Access tokens, refresh tokens and remembered Basic pairs, from the next request on."""
    token = world.token("alice", "repository:priv/app:pull")
    refresh = alice.request("GET", "/token?offline_token=true").json["refresh_token"]
    bearer = world.client().with_headers(authorization=f"Bearer {token}")
    target = "/v2/priv/app/manifests/v1"
    assert (alice.request("GET", target).status, bearer.request("GET", target).status) == (200, 200)
    world.clock.advance(seconds=1)

    async def record(tx: Tx) -> None:
        await accounts.set_password(tx, world.ids["alice"], "plain:new", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(record)
    assert (alice.request("GET", target).status, bearer.request("GET", target).status) == (401, 401)
    assert post(world.client(), ("grant_type", "refresh_token"), ("refresh_token", refresh)).status == 401
    assert world.client().request("GET", target, authorization=basic("alice", "new")).status == 200


@pytest.mark.parametrize(
    "statement", ["update account set is_disabled = 1 where id = $1", "delete from account where id = $1"]
)
def test_whoever_is_disabled_or_removed_is_out(world: World, statement: str) -> None:
    """At once, with tokens as with passwords."""
    bob = world.bearer("bob")
    assert bob.request("GET", "/v2/").status == 200

    async def record(tx: Tx) -> None:
        await tx.execute(statement, world.ids["bob"])
        await policy.bump_policy_version(tx)

    world.transact(record)
    assert bob.request("GET", "/v2/").status == 401
    assert world.client("bob").request("GET", "/v2/").status == 401


def test_a_grant_taken_back_counts_at_once(world: World, alice: Client) -> None:
    """A token is a ceiling, not the answer."""
    carol = world.bearer("carol", "repository:priv/app:pull")
    assert carol.request("GET", "/v2/priv/app/manifests/v1").status == 200

    async def record(tx: Tx) -> None:
        await tx.execute('delete from "grant" where subject = $1', world.ids["carol"])
        await policy.bump_policy_version(tx)

    world.transact(record)
    assert carol.request("GET", "/v2/priv/app/manifests/v1").status == 404


def test_tokens_survive_a_restart(world: World, alice: Client) -> None:
    """The key lies in the database."""
    token = world.token("alice", "repository:priv/app:pull")
    world.restart()
    answer = world.client().request("GET", "/v2/priv/app/tags/list", authorization=f"bearer {token} ")
    assert answer.json["tags"] == ["v1"]


def test_scopes_may_hold_any_text(world: World, alice: Client) -> None:
    """What cannot be a name is left out, not an error."""
    for text in ("é", "a:b:c", " ", "repository:" + "a" * 300 + ":pull", "🙂:🙂:🙂"):
        assert access_of(world, alice.request("GET", f"/token?scope={quote(text)}")) == []


def test_a_form_comes_from_where_its_request_does(world: World, alice: Client) -> None:
    """Grants for a network count for tokens that are asked for by POST, with a password and with a refresh token."""

    async def record(tx: Tx) -> None:
        conditions = Conditions(networks=("198.51.100.0/24",))
        row = NewGrantRow(("account", world.ids["bob"]), "priv", "reader", conditions=conditions)
        await grants.add_grant(tx, row, "alice", world.clock.now())
        await policy.bump_policy_version(tx)

    world.transact(record)
    pair = {"grant_type": "password", "username": "bob", "password": password_of("bob"), "access_type": "offline"}

    def ask(fields: dict[str, str], address: str) -> Answer:
        body = urlencode({**fields, "scope": "repository:priv/app:pull"}).encode()
        return world.client().with_scope(client=(address, 1)).request("POST", "/token", body, content_type=FORM)

    first = ask(pair, "198.51.100.7")
    assert access_of(world, first) == ["repository:priv/app:pull"]
    again = {"grant_type": "refresh_token", "refresh_token": first.json["refresh_token"]}
    assert access_of(world, ask(again, "198.51.100.7")) == ["repository:priv/app:pull"]
    assert access_of(world, ask(again, "203.0.113.9")) == []

"""The table "Who gets which answer" of the design, row by row, for every endpoint of the OCI face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from entrepot.core.registry import Rules
from entrepot.domain.access import Action
from entrepot.formats.oci.routes import ENDPOINTS
from entrepot.wire.routing import Endpoint
from tests.support.asgi import Answer, Client
from tests.support.images import image
from tests.support.world import World, basic

# Names of one length, so that answers can be compared byte by byte.
HIDDEN_PRIVATE = ("priv/apps", "priv/none", "gone/apps")
HIDDEN_PUBLIC = ("pub/hide", "pub/none")
HIDDEN = (*HIDDEN_PRIVATE, *HIDDEN_PUBLIC)
DIGEST = "sha256:" + "0" * 64
GOOD = {"{digest}": DIGEST, "{reference}": "v1", "{upload}": "0" * 32}
BAD = {"{digest}": "nonsense", "{reference}": "-", "{upload}": "0"}
ALL = "pull,push,delete"

NAMED = [endpoint for endpoint in ENDPOINTS if "{name}" in endpoint.path]
READS = [endpoint for endpoint in NAMED if endpoint.needs is Action.PULL]
WRITES = [endpoint for endpoint in NAMED if endpoint.needs is not Action.PULL]


def show(endpoint: Endpoint) -> str:
    """How a row of the table is called in reports."""
    return f"{endpoint.method} {endpoint.path}"


every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=show)
every_named = pytest.mark.parametrize("endpoint", NAMED, ids=show)
every_read = pytest.mark.parametrize("endpoint", READS, ids=show)
every_write = pytest.mark.parametrize("endpoint", WRITES, ids=show)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Public and private repositories, one of each hidden in or shown from a namespace of the other kind."""
    with World(rules=Rules(lockout_failures=0)) as world:
        for repository in ("pub/apps", "pub/hide", "priv/apps", "priv/show"):
            world.push(repository, image(), "v1")
        world.set_visibility("pub/hide", "private")
        world.set_visibility("priv/show", "public")
        yield world


def ask(client: Client, endpoint: Endpoint, name: str, words: dict[str, str] | None = None) -> Answer:
    """Send the endpoint's request about a repository."""
    path = endpoint.path.replace("{name}", name)
    for word, value in (words or GOOD).items():
        path = path.replace(word, value)
    return client.request(endpoint.method, path)


def shape(answer: Answer, name: str) -> tuple[object, ...]:
    """An answer with the asked name taken out: what a stranger could compare."""

    def without_name(text: str) -> str:
        return text.replace(name, "<name>").replace(name.partition("/")[0], "<namespace>")

    # Each refusal has an id, which says nothing: it is made of who asked for what.
    assert len(answer["entrepot-denial"]) == 12
    pairs = tuple((key, without_name(value)) for key, value in answer.pairs if key != "entrepot-denial")
    return answer.status, pairs, without_name(answer.body.decode())


def require_same(client: Client, endpoint: Endpoint, names: Sequence[str]) -> Answer:
    """Ask about each name, with words that are legal and with words that are not; the answers must be alike."""
    for words in (GOOD, BAD):
        shapes = {shape(ask(client, endpoint, name, words), name) for name in names}
        assert len(shapes) == 1, shapes
    return ask(client, endpoint, names[0])


def strangers(world: World, name: str) -> list[Client]:
    """Anonymous, with an empty Basic pair, and with anonymous tokens for nothing and for all."""
    empty = world.client().with_headers(authorization=basic("", ""))
    return [world.client(), empty, world.bearer(""), world.bearer("", f"repository:{name}:{ALL}")]


def guises(world: World, user: str, *names: str) -> list[Client]:
    """A user by Basic, and by a token that was asked to cover everything."""
    return [world.client(user), world.bearer(user, *(f"repository:{name}:{ALL}" for name in names))]


@every_named
def test_anonymous_is_challenged_where_nobody_may_read(world: World, endpoint: Endpoint) -> None:
    """Row 1: 401 with the scope, the same whether the repository is there or not."""
    for names in (HIDDEN_PRIVATE, HIDDEN_PUBLIC):
        for client in strangers(world, names[0]):
            answer = require_same(client, endpoint, names)
            assert answer.status == 401
            assert f'scope="repository:{names[0]}:{endpoint.challenge}"' in answer["www-authenticate"]
            assert endpoint.method == "HEAD" or answer.code == "UNAUTHORIZED"


@every_write
@pytest.mark.parametrize("name", ["pub/apps", "priv/show"])
def test_anonymous_is_challenged_to_write_where_everybody_reads(world: World, endpoint: Endpoint, name: str) -> None:
    """Row 1, writes: a public repository asks strangers for credentials with the scope of a push."""
    for client in strangers(world, name):
        answer = ask(client, endpoint, name)
        assert answer.status == 401
        assert f'scope="repository:{name}:pull,push' in answer["www-authenticate"]


@every_endpoint
def test_wrong_or_expired_credentials_are_401_everywhere(world: World, endpoint: Endpoint) -> None:
    """Row 2: whatever is asked for, credentials that are not good are refused before anything else is looked at."""
    token = world.token("alice", f"repository:priv/apps:{ALL}")
    refresh = world.client("alice").request("GET", "/token?offline_token=true").json["refresh_token"]
    world.clock.advance(seconds=world.rules.token_seconds)
    headers = [
        basic("alice", "wrong"),
        basic("nobody", "wrong"),
        basic("alice\0", "alice-password"),
        "Basic !",
        "Basic " + "AAAA",
        f"Bearer {token}",
        f"Bearer {refresh}",
        f"Bearer {token}x",
        "Bearer",
        "Negotiate abc",
        "",
    ]
    for header in headers:
        client = world.client().with_headers(authorization=header)
        for name in ("pub/apps", "priv/apps", "gone/apps"):
            answer = ask(client, endpoint, name)
            assert answer.status == 401, header
            expected = 'error="invalid_token"' if endpoint.path != "/token" else 'Basic realm="entrepot"'
            assert expected in answer["www-authenticate"]


@every_named
def test_a_token_without_the_scope_is_told_which_scope_it_lacks(world: World, endpoint: Endpoint) -> None:
    """Row 3: 401 insufficient_scope, the scope named, where the owner of the token may do it."""
    for name in ("pub/apps", "pub/hide", "priv/apps", "priv/none"):
        for client in (world.bearer("alice"), world.bearer("alice", f"repository:other/name:{ALL}")):
            answer = ask(client, endpoint, name)
            assert answer.status == 401
            assert 'error="insufficient_scope"' in answer["www-authenticate"]
            assert f'scope="repository:{name}:{endpoint.challenge}"' in answer["www-authenticate"]


@every_read
def test_an_identity_that_may_not_read_sees_nothing(world: World, endpoint: Endpoint) -> None:
    """Row 4: 404 NAME_UNKNOWN with the same body, there or not."""
    for names in (HIDDEN_PRIVATE, HIDDEN_PUBLIC):
        for client in (*guises(world, "bob", *names), world.bearer("bob")):
            answer = require_same(client, endpoint, names)
            assert answer.status == 404
            assert endpoint.method == "HEAD" or answer.code == "NAME_UNKNOWN"


@every_write
def test_an_identity_that_may_not_read_is_denied_to_write(world: World, endpoint: Endpoint) -> None:
    """Row 5: 403 DENIED with the same body, there or not, in a private namespace, a public one or none."""
    for names in (HIDDEN_PRIVATE, HIDDEN_PUBLIC):
        for client in (*guises(world, "bob", *names), world.bearer("bob")):
            answer = require_same(client, endpoint, names)
            assert answer.status == 403
            assert endpoint.method == "HEAD" or answer.code == "DENIED"


@every_write
@pytest.mark.parametrize(("user", "name"), [("carol", "priv/apps"), ("bob", "pub/apps"), ("bob", "priv/show")])
def test_an_identity_that_may_read_is_told_why_not(world: World, endpoint: Endpoint, user: str, name: str) -> None:
    """Row 6: 403 DENIED with the reasons of the decision."""
    for client in guises(world, user, name):
        answer = ask(client, endpoint, name)
        assert answer.status == 403
        if endpoint.method != "HEAD":
            assert answer.code == "DENIED"
            role = "reader" if user == "carol" else "no role"
            assert f"{user} has {role} there" in answer.json["errors"][0]["detail"]["reasons"]


@every_read
@pytest.mark.parametrize(
    ("user", "name"),
    [("", "pub/apps"), ("", "priv/show"), ("bob", "pub/apps"), ("carol", "priv/apps"), ("alice", "pub/hide")],
)
def test_whoever_may_read_passes(world: World, endpoint: Endpoint, user: str, name: str) -> None:
    """The other side of the table: what is readable is answered, by Basic, by token and without either."""
    clients = strangers(world, name) if user == "" else guises(world, user, name)
    for client in clients:
        if not user and client is clients[2]:
            continue  # A token for nothing covers nothing, not even what is public.
        answer = ask(client, endpoint, name)
        assert answer.status in {200, 404}
        assert answer.body == b"" or answer.status == 200 or answer.code in {"BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}


def test_a_token_for_nothing_does_not_cover_what_is_public(world: World) -> None:
    """A token is a ceiling even for strangers: the challenge names the scope that they can have."""
    answer = world.bearer("").request("GET", "/v2/pub/apps/manifests/v1")
    assert answer.status == 401
    assert 'scope="repository:pub/apps:pull"' in answer["www-authenticate"]


def test_tokens_do_not_tell_what_an_open_namespace_hides(world: World) -> None:
    """The access in a token, which its holder can read, is the same for hidden and for absent repositories."""
    from entrepot.core.tokens import verify  # noqa: PLC0415 - only this test looks inside

    for names in (HIDDEN_PRIVATE, HIDDEN_PUBLIC):
        for user in ("", "bob"):
            seen = set()
            for name in names:
                token = world.token(user, f"repository:{name}:{ALL}")
                claims = verify(world.registry.policy.keys, token, world.clock.now(), "access")
                seen.add(tuple(access.actions for access in claims.access))
            assert len(seen) == 1


def test_the_catalogue_is_for_whoever_has_credentials(world: World) -> None:
    """Anonymous is challenged with the catalogue's scope; a token without it is told so; with it, it passes."""
    anonymous = world.client().request("GET", "/v2/_catalog")
    assert anonymous.status == 401
    assert 'scope="registry:catalog:*"' in anonymous["www-authenticate"]
    lacking = world.bearer("bob").request("GET", "/v2/_catalog")
    assert lacking.status == 401
    assert 'error="insufficient_scope"' in lacking["www-authenticate"]
    assert world.client("bob").request("GET", "/v2/_catalog").json == {"repositories": ["priv/show", "pub/apps"]}
    for user in ("", "bob"):
        client = world.bearer(user, "registry:catalog:*")
        assert client.request("GET", "/v2/_catalog").json == {"repositories": ["priv/show", "pub/apps"]}


def test_the_base_asks_for_credentials_of_any_kind(world: World) -> None:
    """Docker decides by GET /v2/ whether to ask for a token, so only a request without any is refused."""
    refused = world.client().request("GET", "/v2/")
    assert refused.status == 401
    assert refused["www-authenticate"] == 'Bearer realm="http://registry.test/token",service="registry.test"'
    for client in (world.client("bob"), world.bearer("bob"), world.bearer("")):
        assert client.request("GET", "/v2/").status == 200


@pytest.mark.parametrize(
    ("source", "extra"),
    [
        ("pub/apps", " repository:pub/apps:pull"),
        ("priv%2Fapps", " repository:priv/apps:pull"),
        ("gone/none", " repository:gone/none:pull"),
        ("UPPER", ""),
        ('x",realm="http://evil', ""),
        ("a%0d%0ab", ""),
        ("", ""),
    ],
)
def test_a_challenge_for_a_mount_names_its_source(world: World, source: str, extra: str) -> None:
    """Some clients ask for what a challenge names and no more; what is no name does not reach the header."""
    target = f"/v2/priv/apps/blobs/uploads/?mount={DIGEST}&from={source}"
    for client in (world.client(), world.bearer("alice")):
        answer = client.request("POST", target)
        assert answer.status == 401
        assert f'scope="repository:priv/apps:pull,push{extra}"' in answer["www-authenticate"]

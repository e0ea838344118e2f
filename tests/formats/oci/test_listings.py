"""Listings through the door: tags, repositories and referrers, page by page."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from entrepot.domain import media_types
from tests.support.asgi import Answer, Client
from tests.support.images import Image, artifact, image
from tests.support.world import World, push_blob, put_manifest

IMAGE = image()
TAGS = ["0", "A", "_", "a", "a.1", "a1", "b"]
MISSING = "sha256:" + "0" * 64


def follow(client: Client, target: str) -> list[Answer]:
    """Every page, by its links."""
    pages = []
    while target:
        answer = client.request("GET", target)
        assert answer.status == 200, answer
        pages.append(answer)
        link = answer["link"]
        assert link == "" or link.endswith('; rel="next"')
        target = link.partition(";")[0][1:-1]
    return pages


@pytest.fixture
def alice(world: World) -> Client:
    """The owner of a repository with some tags."""
    world.push("priv/app", IMAGE, *reversed(TAGS), user="alice")
    return world.client("alice")


def test_tags_are_listed_in_byte_order(alice: Client) -> None:
    """All on one page, without a link; HEAD is the same without a body."""
    answer = alice.request("GET", "/v2/priv/app/tags/list")
    assert answer.json == {"name": "priv/app", "tags": TAGS}
    assert answer["content-type"] == "application/json"
    assert "link" not in answer
    assert alice.request("HEAD", "/v2/priv/app/tags/list").pairs == answer.pairs


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_tags_page_by_page(alice: Client, limit: int) -> None:
    """Each page is full but the last, and the links lead through all of them once."""
    pages = follow(alice, f"/v2/priv/app/tags/list?n={limit}")
    listed = [page.json["tags"] for page in pages]
    assert [tag for tags in listed for tag in tags] == TAGS
    assert [len(tags) for tags in listed[:-1]] == [limit] * (len(listed) - 1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?last=a", ["a.1", "a1", "b"]),
        ("?last=zz", []),
        ("?last=&n=1", ["0"]),
        ("?n=0", []),
        ("?n=2&last=a.", ["a.1", "a1"]),
    ],
)
def test_tags_from_anywhere(alice: Client, query: str, expected: list[str]) -> None:
    """`last` need not be a tag, and no entries means no entries."""
    assert alice.request("GET", f"/v2/priv/app/tags/list{query}").json["tags"] == expected


@pytest.mark.parametrize("query", ["?n=-1", "?n=x", "?last=%00", "?last=%FF"])
def test_pages_that_are_none(alice: Client, query: str) -> None:
    """400 for a limit or a query that cannot be read."""
    for target in ("/v2/priv/app/tags/list", "/v2/_catalog", f"/v2/priv/app/referrers/{MISSING}"):
        answer = alice.request("GET", target + query)
        assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_a_repository_without_tags(world: World, alice: Client) -> None:
    """An empty list where there is a repository, NAME_UNKNOWN where there is none."""
    push_blob(alice, "priv/bare", b"x")
    assert alice.request("GET", "/v2/priv/bare/tags/list").json == {"name": "priv/bare", "tags": []}
    assert alice.request("GET", "/v2/priv/none/tags/list").code == "NAME_UNKNOWN"


@pytest.fixture
def many(world: World) -> World:
    """Repositories in several namespaces, some hidden from or shown to everybody."""
    for name in ("pub/a", "pub/hide1", "pub/hide2", "pub/z", "priv/a", "priv/show", "priv/z", "library/x", "bob/own"):
        push_blob(world.client("admin"), name, b"x")
    for name in ("pub/hide1", "pub/hide2"):
        world.set_visibility(name, "private")
    world.set_visibility("priv/show", "public")
    return world


VISIBLE = {
    "admin": ["bob/own", "library/x", "priv/a", "priv/show", "priv/z", "pub/a", "pub/hide1", "pub/hide2", "pub/z"],
    "alice": ["priv/a", "priv/show", "priv/z", "pub/a", "pub/hide1", "pub/hide2", "pub/z"],
    "bob": ["bob/own", "priv/show", "pub/a", "pub/z"],
    "carol": ["priv/a", "priv/show", "priv/z", "pub/a", "pub/z"],
}


@pytest.mark.parametrize("user", sorted(VISIBLE))
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_the_catalogue_shows_what_the_caller_may_read(many: World, user: str, limit: int) -> None:
    """In order, page by page; no page is short, and no link names what is hidden."""
    pages = follow(many.client(user), f"/v2/_catalog?n={limit}")
    listed = [page.json["repositories"] for page in pages]
    assert [name for names in listed for name in names] == VISIBLE[user]
    assert [len(names) for names in listed[:-1]] == [limit] * (len(listed) - 1)
    assert not any("hide" in page["link"] for page in pages if user not in {"admin", "alice"})


def test_a_grant_on_one_repository_shows_it(many: World) -> None:
    """And nothing beside it in its namespace; none of the names that begin or end alike."""
    push_blob(many.client("admin"), "priv/z2", b"x")
    push_blob(many.client("admin"), "priv/z/y", b"x")
    many.grant("bob", "priv/z", "reader")
    assert "priv/z" in many.client("bob").request("GET", "/v2/_catalog").json["repositories"]
    assert not {"priv/z2", "priv/z/y", "priv/a"} & set(
        many.client("bob").request("GET", "/v2/_catalog").json["repositories"]
    )


def test_the_catalogue_of_strangers(many: World) -> None:
    """A token for the catalogue, without an account, lists what is public."""
    client = many.bearer("", "registry:catalog:*")
    assert client.request("GET", "/v2/_catalog").json == {"repositories": ["priv/show", "pub/a", "pub/z"]}
    assert client.request("GET", "/v2/_catalog?n=0").json == {"repositories": []}


def attach(client: Client, subject: Image, count: int, artifact_type: str) -> list[Image]:
    """Push artifacts that refer to a subject."""
    attached = [artifact(subject, artifact_type, b"%d" % number) for number in range(count)]
    for each in attached:
        push_blob(client, "priv/app", each.blobs[0])
        assert put_manifest(client, "priv/app", each, each.digest).status == 201
    return attached


def test_referrers_are_an_index(alice: Client) -> None:
    """Descriptors with artifact type and annotations, of live manifests only."""
    (signature,) = attach(alice, IMAGE, 1, "application/vnd.example.signature")
    target = f"/v2/priv/app/referrers/{IMAGE.digest}"
    answer = alice.request("GET", target)
    assert (answer.status, answer["content-type"]) == (200, media_types.IMAGE_INDEX)
    assert "oci-filters-applied" not in answer
    assert answer.json == {
        "schemaVersion": 2,
        "mediaType": media_types.IMAGE_INDEX,
        "manifests": [
            {
                **signature.describe(),
                "artifactType": "application/vnd.example.signature",
                "annotations": {"org.example.note": "application/vnd.example.signature"},
            }
        ],
    }
    alice.request("DELETE", f"/v2/priv/app/manifests/{signature.digest}")
    assert alice.request("GET", target).json["manifests"] == []


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("wanted", ["", "application/vnd.example.a+json"])
def test_referrers_page_by_page(alice: Client, limit: int, wanted: str) -> None:
    """With and without a filter, which is named in every answer and carried by every link."""
    expected = attach(alice, IMAGE, 3, "application/vnd.example.a+json")
    others = attach(alice, IMAGE, 2, "application/vnd.example.b")
    query = f"?n={limit}" + (f"&artifactType={quote(wanted, safe='')}" if wanted else "")
    pages = follow(alice, f"/v2/priv/app/referrers/{IMAGE.digest}{query}")
    digests = [each["digest"] for page in pages for each in page.json["manifests"]]
    assert digests == sorted(each.digest for each in (expected if wanted else [*expected, *others]))
    assert {page["oci-filters-applied"] for page in pages} == {"artifactType" if wanted else ""}


def test_no_referrers_is_an_empty_index(world: World, alice: Client) -> None:
    """Of an unknown subject, by an unknown type, before anything was pushed: 200 to whoever has a role there."""
    for repository in ("priv/app", "priv/none"):
        for query in ("", "?artifactType=a/b", "?artifactType="):
            answer = alice.request("GET", f"/v2/{repository}/referrers/{MISSING}{query}")
            assert (answer.status, answer.json["manifests"]) == (200, [])
    assert alice.request("GET", "/v2/priv/app/referrers/nonsense").code == "DIGEST_INVALID"
    stranger = world.bearer("", "repository:pub/none:pull")
    assert stranger.request("GET", f"/v2/pub/none/referrers/{MISSING}").status == 401
    push_blob(alice, "pub/app", b"x")
    assert world.client().request("GET", f"/v2/pub/app/referrers/{MISSING}").status == 200

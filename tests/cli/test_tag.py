"""`entrepot tag`."""

from __future__ import annotations

import pytest

from tests.cli.caller import Caller, push
from tests.support.images import image
from tests.support.server import Server

OLD, NEW = image((b"old layer",)), image((b"new layer",))


@pytest.fixture
def tag(admin: Caller, server: Server, request: pytest.FixtureRequest) -> str:
    """A tag that has moved from OLD to NEW, in a repository of the test's own."""
    repository = f"tags/{request.node.name.replace('_', '-').partition('[')[0].removeprefix('test-')}"
    for pushed in (OLD, NEW):
        push(server, repository, pushed, "latest")
    return f"{repository}:latest"


def test_tags_are_listed(admin: Caller, tag: str) -> None:
    """The list has the tag with digest, media type and size."""
    repository = tag.partition(":")[0]
    assert admin.run("tag", "list", repository).splitlines()[1].split()[:4] == [
        "latest",
        NEW.digest,
        NEW.media_type,
        str(len(NEW.raw)),
    ]
    assert [each["name"] for each in admin.ask("tag", "list", repository)] == ["latest"]


def test_a_tag_moves_and_goes_back(admin: Caller, tag: str) -> None:
    """A tag is moved by digest, rolled back, deleted and brought back, and its history tells all of it."""
    assert admin.run("tag", "move", tag, OLD.digest) == f"{tag} points at {OLD.digest}\n"
    assert admin.run("tag", "rollback", tag) == f"{tag} points at {NEW.digest}\n"
    repository = tag.partition(":")[0]
    assert admin.ask("tag", "list", repository, "--deleted") == []
    assert admin.run("tag", "delete", tag).startswith(f"tag {tag} deleted; bring it back with")
    (deleted,) = admin.ask("tag", "list", repository, "--deleted")
    assert (deleted["name"], deleted["digest"], deleted["actor"]) == ("latest", NEW.digest, "admin")
    assert NEW.digest in admin.run("tag", "list", repository, "--deleted")
    assert admin.ask("tag", "rollback", tag, "--to", OLD.digest)["digest"] == OLD.digest
    vias = [event["via"] for event in admin.ask("tag", "history", tag)]
    assert vias == ["rollback", "api", "rollback", "api", "oci", "oci"]
    assert len(admin.run("tag", "history", tag).splitlines()) == 7


def test_a_guarded_move_is_refused(admin: Caller, tag: str) -> None:
    """With --expected, a tag that stands elsewhere is left alone."""
    message = "not where the request expects it"
    assert message in admin.fail("tag", "move", tag, OLD.digest, "--expected", OLD.digest)
    assert message in admin.fail("tag", "move", tag, OLD.digest, "--expected", "none")
    assert message in admin.fail("tag", "delete", tag, "--expected", OLD.digest)
    assert message in admin.fail("tag", "rollback", tag, "--expected", OLD.digest)
    assert admin.ask("tag", "move", tag, OLD.digest, "--expected", NEW.digest)["digest"] == OLD.digest
    assert admin.ask("tag", "delete", tag) == {"deleted": tag}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "none/app"), "not known to registry"),
        (("history", "acme/app"), "write repository and tag"),
        (("history", "localhost:5000/app"), "write repository and tag"),
        (("history", "acme/app@sha256:0"), "write repository and tag"),
        (("move", "none/app:1", "sha256:" + "0" * 64), "not known to registry"),
        (("move", "none/app:1", "latest"), "a digest is written"),
        (("rollback", "none/app:1"), "not known to registry"),
        (("delete", "none/app:1"), "not known to registry"),
    ],
)
def test_mistakes_are_one_line(admin: Caller, words: tuple[str, ...], message: str) -> None:
    """What cannot be done is told in one line, with exit code 1."""
    assert message in admin.fail("tag", *words)

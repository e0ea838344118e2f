"""Listing tags: order, pages, and where a listing begins."""

from __future__ import annotations

import pytest

from . import data, spec
from .verbs import Repository, delete_tag, next_page, push_all, push_manifest, tags_of, tags_page
from .wire import error_codes, parsed

TAGS = ["v10", "v2", "v1", "Beta", "alpha", "_x", "1.0", "latest", "zeta", "v1.1", "ALPHA", "0"]


@pytest.fixture
def tagged(repository: Repository) -> Repository:
    """A repository whose one manifest has all of TAGS."""
    made = data.make("no-layers", "sha256")
    push_all(repository, made)
    manifest = next(iter(made.manifests.values()))
    for tag in TAGS:
        push_manifest(repository, manifest, tag)
    delete_tag(repository, "bare")
    return repository


def test_whole_list(tagged: Repository) -> None:
    """All tags are listed once, in order, under the repository's name."""
    tags, following = tags_page(tagged)
    spec.must(sorted(tags) == sorted(TAGS) and following is None, spec.TAGS_FOUND, tags)


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_pages(count: int, tagged: Repository) -> None:
    """Pages of any size have that many tags but for the last, and together are the whole list."""
    whole, _ = tags_page(tagged)
    seen: list[str] = []
    tags, following = tags_page(tagged, f"?n={count}")
    while True:
        is_last = len(seen) + len(tags) == len(whole)
        spec.must(len(tags) == count or is_last, spec.TAGS_COUNT, tags)
        seen += tags
        if following is None:
            break
        response = tagged.follow("GET", following)
        tags, following = tags_of(tagged, response), next_page(response, spec.TAGS_LINK)
    spec.must(seen == whole, spec.TAGS_LINK, seen)


@pytest.mark.parametrize("count", [12, 13, 1000])
def test_more_than_there_are(count: int, tagged: Repository) -> None:
    """Asking for as many as there are or more gives all of them."""
    tags, following = tags_page(tagged, f"?n={count}")
    spec.must(len(tags) == len(TAGS), spec.TAGS_COUNT, tags)
    if following:
        assert parsed(tagged.follow("GET", following))["tags"] in (None, []), spec.TAGS_LINK


def test_none_asked_for(tagged: Repository) -> None:
    """With n=0 the list is empty and there is no Link."""
    tags, following = tags_page(tagged, "?n=0")
    spec.must(tags == [] and following is None, spec.TAGS_ZERO, tags)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_after_a_tag(count: int, tagged: Repository) -> None:
    """With n and last, the list begins after that tag and has that many."""
    whole, _ = tags_page(tagged)
    for place, tag in enumerate(whole):
        tags, _ = tags_page(tagged, f"?n={count}&last={tag}")
        spec.must(tags == whole[place + 1 :][:count], spec.TAGS_AFTER, tags)
        spec.must(tags == [each for each in whole if each in tags], spec.TAGS_PAGE_ORDER, tags)


def test_last_without_count(tagged: Repository) -> None:
    """With last alone, the list is all that follows."""
    whole, _ = tags_page(tagged)
    tags, _ = tags_page(tagged, f"?last={whole[4]}")
    spec.must(tags == whole[5:], spec.TAGS_LAST_ALONE, tags)


def test_after_a_tag_that_is_not_there(tagged: Repository) -> None:
    """The last parameter is a place in the order; the tag itself need not exist any more."""
    whole, _ = tags_page(tagged)
    delete_tag(tagged, whole[3])
    tags, _ = tags_page(tagged, f"?last={whole[3]}")
    spec.must(tags == whole[4:], spec.TAGS_AFTER, tags)


def test_after_a_number(tagged: Repository) -> None:
    """A number is a place in the order like any other name, not a count of tags to pass over."""
    whole, _ = tags_page(tagged)
    tags, _ = tags_page(tagged, "?last=2")
    spec.must(tags == [tag for tag in whole if tag > "2"], spec.TAGS_AFTER_NAME, tags)


def test_after_the_last_tag(tagged: Repository) -> None:
    """After the last tag there is nothing, and no further page."""
    whole, _ = tags_page(tagged)
    assert tags_page(tagged, f"?n=5&last={whole[-1]}") == ([], None), spec.TAGS_AFTER


def test_repository_without_tags(repository: Repository) -> None:
    """A repository that has only manifests by digest has an empty list."""
    made = data.make("image", "sha256")
    made.tags.clear()
    push_all(repository, made)
    assert tags_page(repository) == ([], None), spec.TAGS_FOUND


def test_empty_repository(repository: Repository) -> None:
    """A repository that nobody has pushed to is not found, or has no tags."""
    response = repository.request("GET", "tags/list")
    if response.status == 200:
        spec.must(parsed(response)["tags"] in (None, []), spec.TAGS_BODY, response)
    else:
        spec.must(response.status == 404, spec.REPOSITORY_MISSING, response)
        assert error_codes(response) == {"NAME_UNKNOWN"}

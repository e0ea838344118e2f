"""What is a pull, and which plan holds for whom."""

from __future__ import annotations

import pytest

from entrepot.domain.plans import Plan, PlanBook, is_pull
from tests.support.images import Image, artifact, image, index

FREE, TEAM, SHORT, ENDLESS = (
    Plan("free", 100, 21_600),
    Plan("team", 5000, 86_400),
    Plan("s", 1, 60),
    Plan("e", None, 60),
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (image(), True),
        (index([image()]), False),
        (artifact(image(), "application/vnd.dev.sigstore.bundle.v0.3+json"), False),
        (Image(b'{"schemaVersion":2,"subject":null}', image().media_type), True),
    ],
)
def test_a_pull_is_of_an_image(content: Image, expected: bool) -> None:
    """An index leads to the image that counts, and what is said about an image is fetched along with it."""
    assert is_pull(content.media_type, content.raw) is expected


@pytest.mark.parametrize(
    ("book", "organisations", "expected"),
    [
        (PlanBook(signed_in=FREE), [], FREE),
        (PlanBook(anonymous=FREE), [], None),
        (PlanBook(signed_in=FREE, assigned={1: SHORT}), [], SHORT),
        (PlanBook(signed_in=FREE, assigned={7: TEAM}), [7, 8], TEAM),
        (PlanBook(signed_in=TEAM, assigned={7: FREE}), [7], TEAM),
        (PlanBook(signed_in=FREE, assigned={7: TEAM, 8: ENDLESS}), [7, 8], ENDLESS),
        (PlanBook(assigned={7: TEAM}), [7], None),
        (PlanBook(assigned={1: FREE, 7: TEAM}), [7], TEAM),
    ],
)
def test_the_highest_plan_holds(book: PlanBook, organisations: list[int], expected: Plan | None) -> None:
    """One's own, else the one for everybody, or a better one of an organisation; none at all is better than any."""
    assert book.find(1, organisations) == expected
    assert not book.is_empty
    assert PlanBook().is_empty

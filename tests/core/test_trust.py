"""What a process counts of tokens of others, and one that asks nobody."""

from __future__ import annotations

import pytest

from entrepot.core import trust
from entrepot.core.trust import NobodyOutside, Trust
from entrepot.domain.aws import ReadyRequest
from entrepot.domain.errors import Unavailable
from entrepot.domain.federation import Issuer
from entrepot.domain.presented import Presented
from tests.support.asgi import run

ISSUER = Issuer(1, "ci", "oidc", "https://ci.example", ("registry.test",))


def test_a_process_that_asks_nobody() -> None:
    """Says so, whatever it is asked."""
    nobody = NobodyOutside()
    with pytest.raises(Unavailable, match="asks no issuer"):
        run(nobody.prove(ISSUER, Presented("", "RS256", "", {})))
    with pytest.raises(Unavailable, match="asks no issuer"):
        run(nobody.forward(ISSUER, ReadyRequest("https://sts.example/", {}, "", "", 0)))
    with pytest.raises(Unavailable, match="asks no issuer"):
        nobody.require_keys("{}")
    run(nobody.close())


def test_equal_refusals_are_news_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within ten seconds one of a kind is told, and what is remembered of that is bounded."""
    monkeypatch.setattr(trust, "MOST_NEWS", 2)
    held, second = Trust(), 1_000_000
    assert held.is_news("ci", "replay", 100 * second)
    assert not held.is_news("ci", "replay", 109 * second)
    assert held.is_news("ci", "rule", 109 * second)
    assert held.is_news("ci", "replay", 110 * second)
    assert held.is_news("ci", "account", 110 * second)
    assert held.is_news("ci", "rule", 110 * second)


def test_counting() -> None:
    """By issuer and result."""
    held = Trust()
    for result in ("exchanged", "exchanged", "replay"):
        held.count("ci", result)
    assert held.counts == {("ci", "exchanged"): 2, ("ci", "replay"): 1}


def test_a_process_without_providers_asks_nobody() -> None:
    """The command line's own registry, and tests, reach no provider by accident."""
    trust, issuer = Trust(), Issuer(1, "idp", "oidc", "https://idp.example", ("us",))
    providers = trust.providers
    asked = [
        providers.discover(issuer),
        providers.prove(issuer, Presented("", "RS256", "", {})),
        providers.redeem(issuer, {}, "secret"),
        providers.describe(issuer, "token"),
    ]
    for each in asked:
        with pytest.raises(Unavailable) as caught:
            run(each)
        assert "secret" not in str(caught.value.detail)
    run(providers.close())

"""Passwords by Argon2id: bounded to the cores, and as slow for users who are not there."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.authn.argon2 import LONGEST_QUEUE, Argon2Hasher
from entrepot.domain.errors import TooMany
from tests.support.asgi import run


def test_a_password_makes_its_hash_and_no_other_does() -> None:
    """An empty hash, which stands for no user, and one that cannot be read are wrong, not errors."""
    hasher = Argon2Hasher(1)

    async def verify() -> list[bool]:
        encoded = await hasher.hash("right")
        assert encoded.startswith("$argon2id$")
        pairs = [(encoded, "right"), (encoded, "wrong"), ("", "right"), ("", ""), ("plain:right", "right")]
        return [await hasher.verify(*pair) for pair in pairs]

    assert run(verify()) == [True, False, False, False, False]


def test_a_crowd_is_sent_away() -> None:
    """TooMany for whoever comes when the queue is full; those in it are served, and then there is room again."""
    hasher = Argon2Hasher(1)

    async def crowd() -> list[bool | BaseException]:
        encoded = await hasher.hash("right")
        waiting = [asyncio.ensure_future(hasher.verify(encoded, "right")) for _ in range(LONGEST_QUEUE + 1)]
        await asyncio.sleep(0)
        assert hasher.waiting() == LONGEST_QUEUE
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert hasher.waiting() == 0
        return found

    found = run(crowd())
    assert found[:-1] == [True] * LONGEST_QUEUE
    with pytest.raises(TooMany):
        raise found[-1] if isinstance(found[-1], BaseException) else AssertionError(found[-1])

"""Rows of the keys that tokens are signed by, over every engine."""

from __future__ import annotations

import msgspec
import pytest

from entrepot.domain.errors import AlreadyExists
from entrepot.metadata import signing_keys
from entrepot.metadata.signing_keys import KeyRow
from tests.contract.engines import Held
from tests.contract.rows import NOW


def key(kid: str, signs_from: int = NOW) -> KeyRow:
    """A key whose texts say what they are."""
    return KeyRow(kid, f"private {kid}", f"secret {kid}", f"public {kid}", f"certificate {kid}", NOW, signs_from)


def test_keys_come_in_the_order_of_their_time(held: Held) -> None:
    """A key comes back as it was added; the next to sign is the last."""
    assert held.read(signing_keys.list_keys) == []
    added = [key("c", NOW + 1), key("b"), key("a"), key("B")]
    for each in added:
        held.transact(lambda tx, each=each: signing_keys.add_key(tx, each))
    assert held.read(signing_keys.list_keys) == [added[3], added[2], added[1], added[0]]
    with pytest.raises(AlreadyExists):
        held.transact(lambda tx: signing_keys.add_key(tx, key("a", NOW + 9)))


def test_the_time_of_a_key_is_moved(held: Held) -> None:
    """Of one key alone; the order follows."""
    for kid in ("a", "b"):
        held.transact(lambda tx, kid=kid: signing_keys.add_key(tx, key(kid)))
    held.transact(lambda tx: signing_keys.set_signs_from(tx, "a", NOW + 1))
    assert held.read(signing_keys.list_keys) == [key("b"), key("a", NOW + 1)]


def test_a_revoked_key_has_no_secrets(held: Held) -> None:
    """It stays with its time, without what it could be used by; the others stay as they were."""
    for kid in ("a", "b"):
        held.transact(lambda tx, kid=kid: signing_keys.add_key(tx, key(kid)))
    held.transact(lambda tx: signing_keys.revoke_key(tx, "a", NOW + 5))
    gone = msgspec.structs.replace(key("a"), private_key="", secret="", revoked_at=NOW + 5)
    assert held.read(signing_keys.list_keys) == [gone, key("b")]


def test_a_key_is_forgotten(held: Held) -> None:
    """Only the one that is named."""
    for kid in ("a", "b"):
        held.transact(lambda tx, kid=kid: signing_keys.add_key(tx, key(kid)))
    held.transact(lambda tx: signing_keys.remove_key(tx, "a"))
    held.transact(lambda tx: signing_keys.remove_key(tx, "none"))
    assert held.read(signing_keys.list_keys) == [key("b")]

"""Digests: grammar, algorithms, and that they are those of hashlib."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.digests import (
    ALGORITHMS,
    digest_of,
    new_hash,
    parse_algorithm,
    parse_descriptor_digest,
    parse_digest,
)
from entrepot.domain.errors import DigestInvalid

SHA256 = "sha256:" + "0a" * 32
SHA512 = "sha512:" + "0a" * 64
SHAPELESS = ["", ":", "sha256", "sha256:", "sha256:zz", "sha256:" + "0A" * 32, "SHA256:" + "0" * 64, "+a:b", "a::b"]
ILLEGAL = [
    *SHAPELESS,
    SHA256[:-1],
    SHA256 + "0",
    SHA256.upper(),
    SHA256 + "\n",
    f" {SHA256}",
    SHA512[:-2],
    "a" * 200 + ":" + "b" * 60,
]


@given(st.binary(), st.sampled_from(sorted(ALGORITHMS)))
def test_digests_are_those_of_hashlib(content: bytes, algorithm: str) -> None:
    """The digest of bytes parses to itself, and a hash fed in pieces agrees."""
    digest = digest_of(content, algorithm)
    assert digest == parse_digest(str(digest))
    assert (digest.algorithm, digest.encoded) == (algorithm, hashlib.new(algorithm, content).hexdigest())
    hasher = new_hash(algorithm)
    hasher.update(content[:3])
    hasher.update(content[3:])
    assert hasher.hexdigest() == digest.encoded


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_supported_digests(text: str) -> None:
    """sha256 and sha512 in lower-case hexadecimal."""
    assert parse_digest(text).is_supported


@pytest.mark.parametrize("text", ILLEGAL)
def test_illegal_digests(text: str) -> None:
    """What is no digest is DigestInvalid, also where other algorithms are allowed."""
    with pytest.raises(DigestInvalid):
        parse_descriptor_digest(text)
    with pytest.raises(DigestInvalid):
        parse_digest(text)


@pytest.mark.parametrize(
    "text", ["blake3:" + "0" * 64, "sha384:00", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9"]
)
def test_unknown_algorithms_are_held_but_not_computed(text: str) -> None:
    """A descriptor may carry any legal digest; a request may not."""
    assert not parse_descriptor_digest(text).is_supported
    with pytest.raises(DigestInvalid, match="not supported"):
        parse_digest(text)


def test_algorithms_that_uploads_may_announce() -> None:
    """The supported ones, and nothing else."""
    assert [parse_algorithm(text) for text in sorted(ALGORITHMS)] == ["sha256", "sha512"]
    for text in ("", "md5", "sha256:"):
        with pytest.raises(DigestInvalid):
            parse_algorithm(text)

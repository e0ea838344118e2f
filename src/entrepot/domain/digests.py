"""Digests: the identity of content (OCI image-spec, "Digests")."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from entrepot.domain.errors import DigestInvalid

if TYPE_CHECKING:
    from hashlib import _Hash

GRAMMAR: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
ENCODED: Final = {"sha256": re.compile(r"[a-f0-9]{64}"), "sha512": re.compile(r"[a-f0-9]{128}")}
ALGORITHMS: Final = frozenset(ENCODED)
DEFAULT_ALGORITHM: Final = "sha256"
LONGEST: Final = 255


class Digest(str):
    """`algorithm:encoded`, checked against the grammar; build it with `parse_digest` or `digest_of`."""

    __slots__ = ()

    @property
    def algorithm(self) -> str:
        """The part before the colon, such as `sha256`."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """The part after the colon, hexadecimal for the algorithms that the registry computes."""
        return self.partition(":")[2]

    @property
    def is_supported(self) -> bool:
        """Whether the registry can compute this algorithm."""
        return self.algorithm in ALGORITHMS


@lru_cache(maxsize=16384)
def parse_descriptor_digest(text: str) -> Digest:
    """A digest as descriptors may carry it: any registered or unregistered algorithm of legal form.

    Raises DigestInvalid. Source: image-spec descriptor.md, "Digests": implementations must be able
    to hold digests whose algorithm they do not know.
    """
    if len(text) > LONGEST or not GRAMMAR.fullmatch(text):
        raise DigestInvalid(
            "a digest is written algorithm:encoded, such as sha256 and 64 hexadecimal digits", got=text[:LONGEST]
        )
    algorithm, _, encoded = text.partition(":")
    form = ENCODED.get(algorithm)
    if form is not None and not form.fullmatch(encoded):
        raise DigestInvalid(f"{algorithm} needs {form.pattern} after the colon", got=text)
    return Digest(text)


@lru_cache(maxsize=16384)
def parse_digest(text: str) -> Digest:
    """A digest of an algorithm that the registry computes. Raises DigestInvalid."""
    digest = parse_descriptor_digest(text)
    if not digest.is_supported:
        raise DigestInvalid(
            "this digest algorithm is not supported", got=digest.algorithm, supported=sorted(ALGORITHMS)
        )
    return digest


def parse_algorithm(text: str) -> str:
    """An algorithm that uploads may announce (`digest-algorithm=`). Raises DigestInvalid."""
    if text not in ALGORITHMS:
        raise DigestInvalid("this digest algorithm is not supported", got=text[:LONGEST], supported=sorted(ALGORITHMS))
    return text


def new_hash(algorithm: str) -> _Hash:
    """A fresh hash object for one of `ALGORITHMS`."""
    return hashlib.new(algorithm, usedforsecurity=False)


def digest_of(content: bytes, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """The digest of bytes held in memory."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}")

"""Names that users see: namespaces, repositories, tags and references."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from entrepot.domain.digests import Digest, parse_digest
from entrepot.domain.errors import NameInvalid, TagInvalid

# distribution-spec, "Pulling manifests": the grammar of <name> and of a tag.
COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY: Final = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
NAMESPACE: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
LONGEST_REPOSITORY: Final = 255
LONGEST_NAMESPACE: Final = 63
DEFAULT_NAMESPACE: Final = "library"
FORMATS: Final = frozenset(
    [
        "npm",
        "maven",
        "pypi",
        "generic",
        "go",
        "cargo",
        "deb",
        "rpm",
        "nuget",
        "gem",
        "conan",
        "composer",
        "terraform",
        "hf",
        "conda",
        "alpine",
    ]
)
# The user name that goes with a token of somebody else, or with what it was exchanged for.
FEDERATED: Final = "oidc"
RESERVED: Final = FORMATS | frozenset(
    [
        FEDERATED,
        "v1",
        "v2",
        "token",
        "api",
        "metrics",
        "healthz",
        "readyz",
        "static",
        "login",
        "logout",
        "search",
        "admin",
        "settings",
        "asof",
        "helm",
    ]
)


class RepositoryName(str):
    """`namespace/path`, always with its namespace; build it with `parse_repository_name`."""

    __slots__ = ()

    @property
    def namespace(self) -> str:
        """The first segment: the unit of ownership."""
        return self.partition("/")[0]


class Tag(str):
    """A movable name for a manifest; build it with `parse_tag`."""

    __slots__ = ()


Reference = Tag | Digest


@lru_cache(maxsize=16384)
def parse_repository_name(text: str) -> RepositoryName:
    """The repository that `text` names; one segment lives in the namespace `library`.

    Raises NameInvalid. Source: distribution-spec, "Pulling manifests".
    """
    if len(text) > LONGEST_REPOSITORY:
        raise NameInvalid(f"a repository name has at most {LONGEST_REPOSITORY} characters", length=len(text))
    if not REPOSITORY.fullmatch(text):
        raise NameInvalid(
            "a repository name is lower-case letters and digits, single . _ or - between them, and / between parts",
            name=text,
        )
    name = RepositoryName(text if "/" in text else f"{DEFAULT_NAMESPACE}/{text}")
    if len(name) > LONGEST_REPOSITORY:
        raise NameInvalid(f"with its namespace {DEFAULT_NAMESPACE}/ the name is too long", length=len(name))
    return name


def parse_namespace_name(text: str) -> str:
    """A name that a new user, organisation or namespace may have. Raises NameInvalid."""
    if len(text) > LONGEST_NAMESPACE or not NAMESPACE.fullmatch(text):
        raise NameInvalid(
            f"a namespace is at most {LONGEST_NAMESPACE} lower-case letters and digits, single . _ or - between them",
            name=text[:LONGEST_REPOSITORY],
        )
    return text


def parse_label(text: str, noun: str) -> str:
    """A name of a team or role (the `noun` of the message), with the grammar of namespaces. Raises NameInvalid."""
    if len(text) > LONGEST_NAMESPACE or not NAMESPACE.fullmatch(text):
        raise NameInvalid(
            f"a {noun} is at most {LONGEST_NAMESPACE} lower-case letters and digits, single . _ or - between them",
            name=text[:LONGEST_REPOSITORY],
        )
    return text


def require_free_name(text: str) -> str:
    """A legal name that is not reserved for the registry's own addresses. Raises NameInvalid."""
    name = parse_namespace_name(text)
    if name in RESERVED:
        raise NameInvalid("this name is reserved for the registry's own addresses", name=name)
    return name


def require_image_repository(name: RepositoryName) -> None:
    """Refuse a path that belongs to a package format: `namespace/<format>/package`. Raises NameInvalid."""
    namespace, _, path = name.partition("/")
    second, slash, _ = path.partition("/")
    if slash and second in FORMATS:
        raise NameInvalid(
            f"{namespace}/{second}/ is kept for {second} packages; choose another second segment", name=name
        )


def parse_tag(text: str) -> Tag:
    """A tag. Raises TagInvalid. Source: distribution-spec, "Pulling manifests"."""
    if not TAG.fullmatch(text):
        raise TagInvalid(
            "a tag is at most 128 letters, digits, _ . and -, and starts with no . or -", tag=text[:LONGEST_REPOSITORY]
        )
    return Tag(text)


def parse_reference(text: str) -> Reference:
    """What stands behind `manifests/`: a digest if it has a colon, else a tag. Raises DigestInvalid or TagInvalid."""
    return parse_digest(text) if ":" in text else parse_tag(text)

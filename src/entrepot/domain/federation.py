"""Whom the registry believes besides itself: issuers of tokens elsewhere, and rules about what they claim."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from entrepot.domain.access import ADMITS, Scope, parse_scopes
from entrepot.domain.conditions import ClaimConditions, unmet
from entrepot.domain.errors import RequestInvalid, Unauthenticated, Unmet
from entrepot.domain.names import LONGEST_NAMESPACE, NAMESPACE
from entrepot.domain.patterns import RESOURCE_PATTERN, is_pattern, literal_prefix, require_pattern

IssuerKind = Literal["oidc", "aws"]
AWS_URL: Final = "https://sts.{region}.amazonaws.com"
REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
LEEWAY_SECONDS: Final = 60
LARGEST_TIME: Final = 10**11
LONGEST_URL: Final = 512
AUDIENCE: Final = re.compile(r"[\x21-\x7e]{1,255}")
LONGEST_SHOWN: Final = 255
MOST_AUDIENCES: Final = 10
MOST_SCOPES: Final = 50


class Issuer(msgspec.Struct, frozen=True):
    """Somebody whose tokens are believed. Of a reusable one, a token counts until it ends, else once.

    `url` is what OIDC tokens say as `iss`, letter by letter; for AWS the endpoint of STS in one of `regions`.
    `audiences` are what tokens may be for; `jwks` are its keys where they are pinned.
    """

    id: int
    name: str
    kind: IssuerKind
    url: str
    audiences: tuple[str, ...]
    regions: tuple[str, ...] = ()
    jwks: str = ""
    is_reusable: bool = False
    is_enabled: bool = True
    created_at: int = 0


class Rule(msgspec.Struct, frozen=True):
    """What a token of an issuer must claim, and as whom and within which scopes its holder then acts."""

    id: int
    issuer: str
    name: str
    conditions: ClaimConditions
    account: int
    account_name: str
    scopes: tuple[str, ...]
    is_enabled: bool = True
    created_at: int = 0

    def unmet(self, claims: Mapping[str, Any]) -> list[str]:
        """Why it does not hold for claims; nothing if it does."""
        disabled = [] if self.is_enabled else ["the rule is disabled"]
        return disabled + unmet(self.conditions, claims)

    @property
    def ceiling(self) -> list[Scope]:
        """Its scopes, in the form of the token protocol."""
        return parse_scopes(list(self.scopes))


class Tenancy(msgspec.Struct, frozen=True):
    """What tells the tenants of an issuer that everybody can have tokens of apart.

    A rule pins a claim of `whole` by a value without stars, one of `paths` at least up to its first slash, or `sub`, if
    that begins with one of `subjects`.
    """

    whole: tuple[str, ...]
    paths: tuple[str, ...]
    subjects: tuple[str, ...]


TENANCIES: Final[dict[str, Tenancy]] = {
    "https://token.actions.githubusercontent.com": Tenancy(
        ("repository_id", "repository_owner", "repository_owner_id"),
        ("repository",),
        ("repo:", "repository:", "repository_id:", "repository_owner:", "repository_owner_id:"),
    ),
    "https://gitlab.com": Tenancy(
        ("project_id", "namespace_id"), ("project_path", "namespace_path"), ("project_path:", "project_id:")
    ),
    "https://agent.buildkite.com": Tenancy(("organization_slug", "organization_id"), (), ("organization:",)),
    "https://accounts.google.com": Tenancy(("email",), (), ("",)),
}
AWS_TENANCY: Final = Tenancy(("account",), ("arn",), ())


def require_pinned(kind: IssuerKind, url: str, conditions: ClaimConditions) -> None:
    """Refuse a rule that tokens of strangers could fulfil. Raises Unmet with what is missing."""
    tenancy = AWS_TENANCY if kind == "aws" else TENANCIES.get(url)
    if tenancy is None or any(_pins(tenancy, claim, values) for claim, values in conditions.items()):
        return
    names = [*tenancy.whole, *tenancy.paths, *(["sub"] if tenancy.subjects else [])]
    has = f"{', '.join(conditions)} alone do not tell whose they are" if conditions else "this rule has no condition"
    who = "every AWS account" if kind == "aws" else f"everybody who uses {url}"
    raise Unmet(
        f"{who} can get such tokens, and {has}: pin one of {', '.join(names)} (a pattern may stand only behind the "
        "owner, as in acme/*)",
        field="conditions",
        missing=names,
    )


def require_label(text: str, field: str) -> str:
    """The name of an issuer or rule. Raises RequestInvalid."""
    if len(text) > LONGEST_NAMESPACE or not NAMESPACE.fullmatch(text):
        raise RequestInvalid(
            f"a name is lower-case letters and digits, separated by . _ or -, at most {LONGEST_NAMESPACE} characters",
            field=field,
        )
    return text


def require_url(url: str, *, is_plain_allowed: bool) -> SplitResult:
    """The address of an issuer, taken apart. Raises RequestInvalid."""
    try:
        parts = urlsplit(url.replace("{region}", "region"))
        is_good = bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
    except ValueError:
        raise RequestInvalid("this is no URL", field="url") from None
    is_bare = not (parts.query or parts.fragment or parts.username or parts.password or " " in url)
    if not is_good or not is_bare or len(url) > LONGEST_URL or parts.scheme not in {"https", "http"}:
        raise RequestInvalid("an issuer has an address like https://token.example.com", field="url")
    if parts.scheme == "http" and not is_plain_allowed:
        raise RequestInvalid(
            "an issuer is asked over https; plain http is for tests (federation.private_addresses), or pin its keys",
            field="url",
        )
    return parts


def require_audiences(audiences: Sequence[str]) -> tuple[str, ...]:
    """What tokens may be for. Raises RequestInvalid."""
    if not 1 <= len(audiences) <= MOST_AUDIENCES:
        raise RequestInvalid(
            f"say for whom tokens must be, 1 to {MOST_AUDIENCES} audiences, such as the name of this registry",
            field="audiences",
        )
    for audience in audiences:
        if not AUDIENCE.fullmatch(audience):
            raise RequestInvalid("an audience is 1 to 255 characters of ASCII, without spaces", field="audiences")
    return tuple(dict.fromkeys(audiences))


def require_regions(kind: IssuerKind, regions: Sequence[str]) -> tuple[str, ...]:
    """The regions of AWS whose STS is asked. Raises RequestInvalid."""
    if (kind == "aws") != bool(regions):
        raise RequestInvalid("aws needs its regions, such as eu-central-1, and nobody else has any", field="regions")
    for region in regions:
        if not REGION.fullmatch(region):
            raise RequestInvalid("a region is written like eu-central-1", field="regions", got=region[:40])
    return tuple(dict.fromkeys(regions))


def require_ceiling(scopes: Sequence[str]) -> tuple[str, ...]:
    """Scopes that a rule may give, such as `repository:acme/*:pull,push`. Raises RequestInvalid."""
    if not 1 <= len(scopes) <= MOST_SCOPES:
        raise RequestInvalid(f"a rule has 1 to {MOST_SCOPES} scopes", field="scopes")
    for text in scopes:
        (scope,) = parse_scopes([text]) if len(parse_scopes([text])) == 1 else (None,)
        if scope is None or scope.type != "repository" or not scope.actions or not ADMITS.keys() >= {*scope.actions}:
            raise RequestInvalid(
                "a scope is repository:NAME:ACTIONS with the actions pull, push, delete or *, such as "
                "repository:acme/*:pull,push",
                field="scopes",
                got=text[:LONGEST_SHOWN],
            )
        require_pattern(scope.name, RESOURCE_PATTERN, "scopes")
    return tuple(dict.fromkeys(scopes))


def require_current(issuer: Issuer, claims: Mapping[str, Any], now: int) -> int:
    """Refuse claims of somebody else, for somebody else, or of another time; until when (microseconds) they count.

    Raises Unauthenticated. Source: RFC 7519, section 4.1, and OpenID Connect Core, section 3.1.3.7.
    """
    if claims.get("iss") != issuer.url:
        raise Unauthenticated("the token is of another issuer", problem="issuer")
    audience = claims.get("aud")
    held = audience if isinstance(audience, list) else [audience]
    if not any(each in issuer.audiences for each in held if isinstance(each, str)):
        raise Unauthenticated(
            f"the token is not for this registry: its audience must be {' or '.join(issuer.audiences)}",
            problem="audience",
        )
    second = now / 1_000_000
    ends = _time(claims, "exp")
    if ends is None:
        raise Unauthenticated("the token never expires, which no token may", problem="malformed")
    if ends + LEEWAY_SECONDS <= second:
        raise Unauthenticated("the token has expired; a job gets a new one for the asking", problem="expired")
    for claim in ("nbf", "iat"):
        begins = _time(claims, claim)
        if begins is not None and begins - LEEWAY_SECONDS > second:
            raise Unauthenticated(f"the token is of the future ({claim}): are the clocks right?", problem="early")
    # A clock that runs a little ahead of the issuer's gives what the leeway leaves.
    return int(ends if ends > second else ends + LEEWAY_SECONDS) * 1_000_000


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LARGEST_TIME:
        raise Unauthenticated(f"the token's {claim} is no time", problem="malformed")
    return value


def _pins(tenancy: Tenancy, claim: str, values: Sequence[str]) -> bool:
    if claim in tenancy.whole:
        return not any(is_pattern(value) for value in values)
    if claim == "sub":
        return all(value.startswith(tenancy.subjects) and _is_owned(value) for value in values)
    return claim in tenancy.paths and all(_is_owned(value) for value in values)


def _is_owned(value: str) -> bool:
    # The first slash ends the owner's name: what is before it must not be open.
    return not is_pattern(value) or "/" in literal_prefix(value)

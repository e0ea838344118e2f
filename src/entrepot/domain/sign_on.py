"""Where people sign on: OpenID Connect providers, and what they claim about somebody."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from entrepot.domain.directory import CONTROL, LONGEST_GROUP, Group
from entrepot.domain.errors import Denied, RequestInvalid, Unauthenticated
from entrepot.domain.federation import Issuer

# Where an account comes from, as rows have it; memberships have it with the provider's name behind a colon.
OIDC: Final = "oidc"
OPENID: Final = "openid"
MOST_LISTED: Final = 50
MOST_GROUPS: Final = 1000
LONGEST_TEXT: Final = 255
LONGEST_SECRET: Final = 2048
LONGEST_DOMAIN: Final = 200
CLAIM: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,255}")
DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
# What a provider wants besides, to give a refresh token.
EXTRAS: Final[dict[str, dict[str, str]]] = {
    "https://accounts.google.com": {"access_type": "offline", "prompt": "consent"}
}


class Provider(msgspec.Struct, frozen=True):
    """Somebody who knows people. `client_secret` is sealed, "" for a public client.

    The claims say what somebody's name, e-mail address and groups are called. Whoever signs on must have an address of
    one of `domains` and be in one of `groups`, where there are any.
    """

    id: int
    name: str
    issuer: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    name_claim: str
    email_claim: str
    groups_claim: str
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    creates_accounts: bool = True
    is_enabled: bool = True
    created_at: int = 0

    @property
    def as_issuer(self) -> Issuer:
        """The same as an issuer of tokens for us."""
        return Issuer(self.id, self.name, "oidc", self.issuer, (self.client_id,))

    @property
    def source(self) -> str:
        """Who put somebody into a team, as rows and events have it."""
        return f"{OIDC}:{self.name}"


class Claimed(msgspec.Struct, frozen=True):
    """What a provider says of somebody; `subject` is what it never gives to another. `groups` is None if unsaid."""

    subject: str
    name: str
    email: str
    is_verified: bool
    groups: tuple[str, ...] | None

    def named_groups(self, provider: Provider) -> tuple[Group, ...]:
        """The groups as teams name them: with the provider before, so that no other one can claim to have them."""
        return tuple(Group(f"{provider.name}:{group}") for group in self.groups or ())


def read_claims(provider: Provider, claims: Mapping[str, Any]) -> Claimed:
    """What claims say of somebody; what is no text is not said. Raises Unauthenticated without a subject."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= LONGEST_TEXT or CONTROL.search(subject):
        raise Unauthenticated(f"{provider.name} does not say who this is (sub)", problem="malformed")
    found = find_claim(claims, provider.groups_claim) if provider.groups_claim else None
    groups = [found] if isinstance(found, str) else found
    named = (
        tuple(each for each in groups[:MOST_GROUPS] if isinstance(each, str) and 0 < len(each) <= LONGEST_GROUP)
        if isinstance(groups, list)
        else None
    )
    email = _text(find_claim(claims, provider.email_claim))
    return Claimed(
        subject, _text(find_claim(claims, provider.name_claim)), email, claims.get("email_verified") is True, named
    )


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the path to it with dots (`realm_access.roles`); None if it is not there."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def account_name(claimed: Claimed) -> str:
    """How somebody would be called here: in small letters, and of an address what is before the @."""
    return claimed.name.partition("@")[0].lower()


def require_allowed(provider: Provider, claimed: Claimed) -> None:
    """Raise Denied for somebody whom the provider knows, and who is not to come in by it."""
    if provider.domains:
        domain = claimed.email.rpartition("@")[2].lower()
        if not claimed.is_verified or domain not in provider.domains:
            raise Denied(
                f"{provider.name} knows you, and only verified addresses of {', '.join(provider.domains)} come in",
                problem="domain",
            )
    if provider.groups and not set(provider.groups) & set(claimed.groups or ()):
        raise Denied(f"{provider.name} knows you, and you are in none of the groups that come in", problem="group")


def require_ours(provider: Provider, claims: Mapping[str, Any], nonce: str) -> None:
    """Refuse an ID token for another client, or of another sign-in; without a nonce it is of a refresh.

    Raises Unauthenticated. Source: OpenID Connect Core, sections 3.1.3.7 and 12.2.
    """
    audience, party = claims.get("aud"), claims.get("azp")
    is_shared = isinstance(audience, list) and len(audience) > 1
    if (is_shared or party is not None) and party != provider.client_id:
        raise Unauthenticated("the ID token is for another client", problem="audience")
    shown = claims.get("nonce")
    if nonce and not (isinstance(shown, str) and hmac.compare_digest(shown.encode(), nonce.encode())):
        raise Unauthenticated("the ID token is of another sign-in", problem="nonce")


def authorization_url(endpoint: str, provider: Provider, parameters: Mapping[str, str]) -> str:
    """Where a browser is sent to sign on (RFC 6749, section 4.1.1)."""
    fields = {
        "response_type": "code",
        "client_id": provider.client_id,
        "scope": " ".join(provider.scopes),
        **parameters,
        **EXTRAS.get(provider.issuer, {}),
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(fields)}"


def require_client(text: str) -> str:
    """What the provider calls us. Raises RequestInvalid."""
    if not VISIBLE.fullmatch(text):
        raise RequestInvalid("a client has an id of 1 to 255 characters of ASCII", field="client_id")
    return text


def require_secret(text: str) -> str:
    """What proves to the provider that it is us. Raises RequestInvalid; the secret is not part of it."""
    if len(text) > LONGEST_SECRET or CONTROL.search(text):
        raise RequestInvalid(f"a client secret has at most {LONGEST_SECRET} characters", field="client_secret")
    return text


def require_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """What is asked for, `openid` among it. Raises RequestInvalid."""
    if not 1 <= len(scopes) <= MOST_LISTED or not all(SCOPE.fullmatch(scope) for scope in scopes):
        raise RequestInvalid("scopes are words of ASCII, such as openid profile email groups", field="scopes")
    return tuple(dict.fromkeys((OPENID, *scopes)))


def require_claim(text: str, field: str) -> str:
    """The name of a claim. Raises RequestInvalid."""
    if not CLAIM.fullmatch(text):
        raise RequestInvalid("a claim has a name such as preferred_username or realm_access.roles", field=field)
    return text


def require_domains(domains: Sequence[str]) -> tuple[str, ...]:
    """Domains of addresses that come in. Raises RequestInvalid."""
    lowered = [domain.lower() for domain in domains]
    if len(lowered) > MOST_LISTED or not all(
        DOMAIN.fullmatch(each) and len(each) <= LONGEST_DOMAIN for each in lowered
    ):
        raise RequestInvalid(f"at most {MOST_LISTED} domains, such as example.com", field="domains")
    return tuple(dict.fromkeys(lowered))


def require_groups(groups: Sequence[str]) -> tuple[str, ...]:
    """Groups that come in. Raises RequestInvalid."""
    is_good = all(0 < len(group) <= LONGEST_GROUP and not CONTROL.search(group) for group in groups)
    if len(groups) > MOST_LISTED or not is_good:
        raise RequestInvalid(f"at most {MOST_LISTED} groups of at most {LONGEST_GROUP} characters", field="groups")
    return tuple(dict.fromkeys(groups))


def require_subject(text: str) -> str:
    """What a provider calls somebody for good. Raises RequestInvalid."""
    if not 1 <= len(text) <= LONGEST_TEXT or CONTROL.search(text):
        raise RequestInvalid("a subject is what the provider says as sub, 1 to 255 characters", field="subject")
    return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT and not CONTROL.search(value) else ""

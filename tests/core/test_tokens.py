"""Tokens: what is signed comes back, others can verify it, and nothing else is ever taken for one of ours."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st

from entrepot.core.keyring import Key
from entrepot.core.tokens import LONGEST, TAIL_LENGTH, Claims, Parties, Use, new_claims, sign, verify
from entrepot.domain.access import Scope
from entrepot.domain.errors import Unauthenticated, Unavailable
from tests.support.clock import START
from tests.support.keys import PARTIES, decode, encode, new_key, ring_of, verify_by_jwks

KEY = new_key()
RING = ring_of(KEY)
SCOPES = [Scope("repository", "a/b", ("pull", "push")), Scope("registry", "catalog", ("*",))]
FOREIGN = "not made by this registry"


def signed(use: Use = "access", *, key: Key = KEY, parties: Parties = PARTIES) -> str:
    """A token."""
    return sign(key, new_claims(parties, START, 60, use, SCOPES))


def with_header(token: str, **changes: object) -> str:
    """A token whose header says something else."""
    header, payload, signature = token.split(".")
    said = {**json.loads(decode(header)), **changes}
    return f"{encode(msgspec.json.encode(said))}.{payload}.{signature}"


def with_claims(token: str, change: Callable[[bytes], bytes]) -> str:
    """A token whose claims are changed as text."""
    header, payload, signature = token.split(".")
    return f"{header}.{encode(change(decode(payload)))}.{signature}"


def resealed(token: str, seal: Callable[[bytes], bytes]) -> str:
    """A token with more in it, sealed and signed by somebody who knows how it is done and has another key."""
    header, payload, signature = token.split(".")
    covered = f"{header}.{payload[:-TAIL_LENGTH]}".encode()
    tail = encode(b',"mac":"%s"}' % encode(seal(covered)).encode())
    return f"{covered.decode()}{tail}.{signature}"


def test_what_was_signed_is_verified() -> None:
    """The claims come back, and no two tokens are alike."""
    claims = new_claims(PARTIES, START, 60, "access", SCOPES)
    assert verify(RING, sign(KEY, claims), START, "access") == claims
    assert (claims.uid, claims.at, claims.iat, claims.exp) == (7, START, START // 10**6, START // 10**6 + 60)
    assert signed() != signed()


def test_others_verify_it_by_the_published_key() -> None:
    """With the words of Docker's token specification, which CNCF distribution asks for, and ES256."""
    token = signed()
    claims = verify_by_jwks(RING.jwks, token)
    second = START // 10**6
    assert {name: claims[name] for name in ("iss", "sub", "aud", "exp", "nbf", "iat", "access")} == {
        "iss": "https://registry.test",
        "sub": "alice",
        "aud": "registry.test",
        "exp": second + 60,
        "nbf": second,
        "iat": second,
        "access": [
            {"type": "repository", "name": "a/b", "actions": ["pull", "push"]},
            {"type": "registry", "name": "catalog", "actions": ["*"]},
        ],
    }
    assert json.loads(decode(token.partition(".")[0])) == {"alg": "ES256", "kid": KEY.row.kid, "typ": "JWT"}


def test_others_refuse_what_was_changed() -> None:
    """Claims, header and signature are all covered by the signature."""
    token = signed()
    for forged in (
        with_claims(token, lambda text: text.replace(b'"push"', b'"pusH"')),
        with_header(token, typ="jwt"),
        token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB"),
    ):
        with pytest.raises(InvalidSignature):
            verify_by_jwks(RING.jwks, forged)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_carried(issuer: str, service: str, name: str) -> None:
    """Names, hosts and scopes of any length and any characters cannot move what is sealed."""
    parties = Parties(issuer, service, 7, name)
    claims = new_claims(parties, START, 60, "access", [Scope(issuer, service, (name,))])
    token = sign(KEY, claims)
    assert verify(RING, token, START, "access") == claims
    assert verify_by_jwks(RING.jwks, token)["aud"] == service


def test_a_usual_token_is_short() -> None:
    """Proxies bound headers at 4 to 8 KiB; docker sends a token with each request."""
    scopes = [Scope("repository", f"a-namespace/of/some/length-{number}", ("pull", "push")) for number in range(2)]
    parties = Parties("https://registry.example.com", "registry.example.com", 12345, "robot$a-namespace+builder")
    assert len(sign(KEY, new_claims(parties, START, 900, "access", scopes))) < 1024


@pytest.mark.parametrize(
    ("token", "use", "later", "reason"),
    [
        (signed(), "refresh", 0, "this is not the refresh token"),
        (signed("refresh"), "access", 0, "this is not the access token"),
        (signed("elsewhere"), "access", 0, "this token is for another service"),
        (signed("elsewhere"), "refresh", 0, "this is not the refresh token"),
        (signed(), "access", 60, "has expired"),
        (signed(), "access", -61, "not valid yet"),
        (signed()[:-1], "access", 0, FOREIGN),
        (signed() + "A", "access", 0, FOREIGN),
        (signed().rpartition(".")[0], "access", 0, FOREIGN),
        (signed().rpartition(".")[0] + ".", "access", 0, FOREIGN),
        (signed().partition(".")[0], "access", 0, FOREIGN),
        (signed() + "." + "A" * 86, "access", 0, FOREIGN),
        ("." + signed(), "access", 0, FOREIGN),
        ("", "access", 0, FOREIGN),
        ("a.b.c", "access", 0, FOREIGN),
        ("é", "access", 0, FOREIGN),
        (signed().replace(".", ".é", 1), "access", 0, FOREIGN),
        (sign(KEY, new_claims(PARTIES, START, 60, "access", SCOPES * LONGEST)), "access", 0, FOREIGN),
    ],
)
def test_tokens_that_are_refused(token: str, use: Use, later: int, reason: str) -> None:
    """Of another use or for another service, expired, of the future, cut, extended, too long."""
    with pytest.raises(Unauthenticated, match=reason):
        verify(RING, token, START + later * 10**6, use)


def test_clocks_may_differ_by_a_minute() -> None:
    """A token made by a replica whose clock is ahead is good."""
    assert verify(RING, signed(), START - 60 * 10**6, "access").uid == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "es256"},
        {"typ": "jwt"},
        {"kid": new_key().row.kid},
        {"kid": "../../dev/null"},
        {"kid": None},
        {"jwk": json.loads(new_key().row.public_key)},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"]},
    ],
)
def test_headers_are_not_looked_into(changes: dict[str, object]) -> None:
    """Whatever a header proposes (another algorithm, key, or place to find one): it is ours to the byte, or refused."""
    with pytest.raises(Unauthenticated, match=FOREIGN):
        verify(RING, with_header(signed(), **changes), START, "access")


def test_a_header_that_says_the_same_is_not_the_same() -> None:
    """Other spacing, order or encoding of the same words is another header."""
    header, payload, signature = signed().split(".")
    for same in (
        encode(json.dumps(json.loads(decode(header))).encode()),
        encode(decode(header) + b" "),
        header + "=",
        header + "A",
    ):
        with pytest.raises(Unauthenticated, match=FOREIGN):
            verify(RING, f"{same}.{payload}.{signature}", START, "access")


def test_the_published_key_is_no_secret_that_seals() -> None:
    """The classic confusion: what everybody knows is used as the key of an HMAC."""
    for known in (
        KEY.row.public_key.encode(),
        KEY.row.certificate.encode(),
        KEY.row.kid.encode(),
        RING.jwks,
        b"",
        bytes(32),
        bytes.fromhex(KEY.row.secret),
    ):
        for forged in (
            resealed(signed(), lambda covered, known=known: hmac.digest(known, covered, "sha256")),  # type: ignore[misc]
            _unsealed(known),
        ):
            with pytest.raises(Unauthenticated, match=FOREIGN):
                verify(RING, forged, START, "access")


def _unsealed(key: bytes) -> str:
    content = with_header(signed(), alg="HS256").rpartition(".")[0]
    return f"{content}.{encode(hmac.digest(key, content.encode(), 'sha256'))}"


def test_the_token_of_another_registry_is_refused() -> None:
    """With other keys; and with the same ones but another key of its own, as after a theft of the rows alone."""
    with pytest.raises(Unauthenticated, match=FOREIGN):
        verify(RING, signed(key=new_key()), START, "access")
    thief = Key(KEY.row, b"other" * 8)
    with pytest.raises(Unauthenticated, match=FOREIGN):
        verify(RING, signed(key=thief), START, "access")


def test_parts_of_two_tokens_make_no_third() -> None:
    """The seal of one is not the seal of another, by the same key or by another one."""
    other = new_key()
    ring = ring_of(KEY, other)
    mine = signed()
    theirs = signed(parties=Parties("https://registry.test", "registry.test", 8, "mallory"))
    elsewhere = signed(key=other)
    for forged in (
        with_tail(mine, theirs),
        ".".join([elsewhere.split(".")[0], *mine.split(".")[1:]]),
        ".".join([mine.split(".")[0], *elsewhere.split(".")[1:]]),
    ):
        with pytest.raises(Unauthenticated, match=FOREIGN):
            verify(ring, forged, START, "access")


def with_tail(claims: str, tail: str) -> str:
    """The claims of one token with the seal and signature of another."""
    left, right = claims.rpartition(".")[0], tail.rpartition(".")[0]
    return f"{left[:-TAIL_LENGTH]}{right[-TAIL_LENGTH:]}.{tail.rpartition('.')[2]}"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"uid":7', b'"uid":1'),
        lambda text: text.replace(b'"push"', b'"*"'),
        lambda text: text.replace(b'"use":"access"', b'"use":"refresh"'),
        lambda text: text.replace(b',"mac"', b',"uid":1,"mac"'),
        lambda text: text[:-1] + b',"uid":1}',
        lambda text: text + b" ",
        lambda text: b" " + text,
        lambda text: text.replace(b'"mac":"', b'"mac":"A'),
        lambda text: text[: text.index(b',"mac"')] + b"}",
        lambda text: text.replace(b'"mac":"', b'"mac":""}'),
    ],
)
def test_claims_are_sealed(change: Callable[[bytes], bytes]) -> None:
    """No claim is changed, repeated, added before or after the seal, and there is no way without it."""
    token = signed()
    forged = with_claims(token, change)
    assert forged != token
    with pytest.raises(Unauthenticated, match=FOREIGN):
        verify(RING, forged, START, "access")


@given(st.integers(0, 2000), st.characters(codec="utf-8"))
def test_no_changed_token_says_anything_else(position: int, character: str) -> None:
    """Whichever character of it is replaced by another: refused, or in the signature, which only others look at."""
    token = signed()
    position %= len(token)
    forged = token[:position] + character + token[position + 1 :]
    claims = verify(RING, token, START, "access")
    try:
        found = verify(RING, forged, START, "access")
    except Unauthenticated:
        return
    assert found == claims
    assert forged == token or position > token.rindex(".")


def test_a_token_with_another_signature_says_what_was_signed() -> None:
    """The seal proves the claims; a signature that fails makes it worthless elsewhere, and gives nobody more here."""
    token = signed()
    forged = f"{token.rpartition('.')[0]}.{'A' * 86}"
    assert verify(RING, forged, START, "access") == verify(RING, token, START, "access")
    with pytest.raises(InvalidSignature):
        verify_by_jwks(RING.jwks, forged)


def test_claims_of_another_version_are_refused() -> None:
    """A use that this version does not know is no failure of the server."""

    class Later(Claims, frozen=True):
        """What a later version may say."""

        use: str  # type: ignore[assignment]

    claims = new_claims(PARTIES, START, 60, "access", SCOPES)
    later = Later(**{**msgspec.structs.asdict(claims), "use": "device"})
    with pytest.raises(Unauthenticated, match="another version"):
        verify(RING, sign(KEY, later), START, "access")


def test_the_newest_key_whose_time_has_come_signs() -> None:
    """Every process decides it by its clock and the same rows, in whatever order it has read them."""
    old, new, waiting = new_key(START - 10), new_key(START), new_key(START + 10)
    for ring in (ring_of(old, new, waiting), ring_of(waiting, new, old)):
        assert [ring.get_signer(now) for now in (START - 10, START - 1, START, START + 9, START + 10)] == [
            old, old, new, new, waiting,
        ]  # fmt: skip
        for key in (old, new, waiting):
            assert verify(ring, signed(key=key), START, "access").uid == 7
            assert verify_by_jwks(ring.jwks, signed(key=key))["uid"] == 7


def test_a_clock_that_is_behind_does_not_stop_tokens() -> None:
    """A process to which every key is of the future signs by the oldest; one without any key says so."""
    oldest = new_key(START + 1)
    assert ring_of(new_key(START + 2), oldest).get_signer(START) is oldest
    with pytest.raises(Unavailable, match="entrepot key rotate"):
        ring_of().get_signer(START)


def test_keys_that_stay_are_not_read_again() -> None:
    """A new policy comes with each grant; reading a private key takes longer than signing by it."""
    ring = ring_of(KEY)
    gone = msgspec.structs.replace(new_key().row, revoked_at=START, private_key="", secret="")
    renewed = ring.renew([KEY.row, new_key().row, gone], b"other")
    assert renewed.find(signed()) is KEY
    assert renewed.jwks.count(b'"kid"') == 2
    assert renewed.certificates.count(b"BEGIN CERTIFICATE") == 2

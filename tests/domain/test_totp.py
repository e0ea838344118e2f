"""One-time codes against the vectors of their specifications."""

from __future__ import annotations

import pytest

from entrepot.domain.totp import (
    CODE,
    LETTERS,
    code_at,
    find_step,
    fold_code,
    make_recovery_codes,
    make_totp_secret,
    provisioning_uri,
    render_base32,
)

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("counter", "code"),
    [(0, "755224"), (1, "287082"), (2, "359152"), (3, "969429"), (4, "338314"), (8, "399871"), (9, "520489")],
)
def test_codes_of_rfc_4226(counter: int, code: str) -> None:
    """Rows of the table of appendix D."""
    assert code_at(SECRET, counter) == code


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_of_rfc_6238(seconds: int, code: str) -> None:
    """The table of appendix B for SHA-1, its last six digits; each belongs to the step of its time."""
    assert code_at(SECRET, seconds // 30) == code
    assert find_step(SECRET, code, seconds, 0) == seconds // 30


def test_a_step_is_found_once() -> None:
    """A code of a step that was used, or before it, is of none."""
    present = 1_790_000_000 // 30
    assert find_step(SECRET, code_at(SECRET, present), 1_790_000_000, present - 1) == present
    assert find_step(SECRET, code_at(SECRET, present), 1_790_000_000, present) is None
    assert find_step(SECRET, code_at(SECRET, present - 1), 1_790_000_000, present) is None
    assert find_step(SECRET, "12345", 1_790_000_000, 0) is None
    assert find_step(SECRET, "\u0661" * 6, 1_790_000_000, 0) is None


def test_secrets_and_codes_are_fresh() -> None:
    """160 bits a secret, ten different recovery codes of letters that cannot be confused."""
    assert len({make_totp_secret() for _ in range(10)}) == 10
    assert len(make_totp_secret()) == 20
    codes = make_recovery_codes()
    assert len(set(codes)) == 10
    assert all(len(fold_code(code)) == 16 and set(fold_code(code)) <= set(LETTERS) for code in codes)
    assert not any(CODE.fullmatch(fold_code(code)) for code in codes)


def test_what_the_picture_holds() -> None:
    """Label and issuer are escaped; the secret is base32 without padding."""
    assert render_base32(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    uri = provisioning_uri("registry.example.com:5000", "bob", SECRET)
    assert uri.startswith("otpauth://totp/registry.example.com:5000:bob?secret=GEZDGNBV")
    assert uri.endswith("&issuer=registry.example.com%3A5000&digits=6&period=30")

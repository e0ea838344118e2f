"""What a second factor means for a password, and the keys and locks behind one-time codes."""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from entrepot.core.registry import SECOND, Rules
from entrepot.domain.audit import By
from entrepot.domain.errors import CodeNeeded, EnrolmentNeeded
from entrepot.domain.events import Event
from entrepot.domain.totp import CODE, find_step, fold_code
from entrepot.metadata import events, totp
from entrepot.metadata.accounts import AccountRow
from entrepot.metadata.totp import TotpRow
from entrepot.ports.database import Tx

Verdict = Literal["right", "recovered", "wrong", "waits"]
NONCE_BYTES: Final = 12
# So many typing errors cost nothing; each further one in a row doubles the wait, up to an hour. With three codes good
# at a time, a guesser who has the password needs years.
FREE_FAILURES: Final = 5
FIRST_WAIT_SECONDS: Final = 30
LONGEST_WAIT_SECONDS: Final = 3600
MOST_DOUBLINGS: Final = 8


def require_password_enough(rules: Rules, account: AccountRow) -> None:
    """Raise CodeNeeded or EnrolmentNeeded where a password alone does not log in; called once it is proved."""
    problem = _find_missing(rules, account)
    if problem is not None:
        problem.since = account.credentials_since
        raise problem


def _find_missing(rules: Rules, account: AccountRow) -> CodeNeeded | EnrolmentNeeded | None:
    if account.has_totp:
        return CodeNeeded(
            "the password of this account needs a one-time code with it, which only entrepot login asks for: "
            "log in here with a personal token (entrepot token create) or with what entrepot login-password prints"
        )
    if is_required(rules, account):
        return EnrolmentNeeded(
            "this registry asks for one-time codes beside your password: set them up first, with: "
            f"entrepot user totp enable {account.name}"
        )
    return None


def is_required(rules: Rules, account: AccountRow) -> bool:
    """Whether an account has to have a second factor."""
    return rules.require_totp == "everyone" or (rules.require_totp == "administrators" and account.is_admin)


def seal_secret(token_key: bytes, account: int, secret: bytes) -> str:
    """A secret as it is stored: AES-256-GCM under a key of the instance, good for this account alone."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(_key(token_key)).encrypt(nonce, secret, b"totp %d" % account)
    return b64encode(nonce + sealed).decode()


def open_secret(token_key: bytes, row: TotpRow) -> bytes:
    """The secret of an authenticator in clear. Raises CodeNeeded where another registry has sealed it."""
    try:
        content = b64decode(row.secret)
        return AESGCM(_key(token_key)).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], b"totp %d" % row.account)
    except (InvalidTag, ValueError):
        raise CodeNeeded(
            "the one-time codes of this account cannot be checked: the key of this registry is another one than when "
            "they were set up; ask an administrator for: entrepot user totp disable"
        ) from None


def hash_recovery_code(token_key: bytes, account: int, code: str) -> str:
    """What is stored of a recovery code."""
    return hmac.digest(token_key, f"recovery {account} {fold_code(code)}".encode(), "sha256").hex()


async def spend(tx: Tx, token_key: bytes, row: TotpRow, code: str, now: int) -> Verdict:
    """Use a code up, in the transaction that it opens something in; a wrong one is counted and must be committed."""
    if is_waiting(row, now):
        return "waits"
    folded = fold_code(code)
    if CODE.fullmatch(folded):
        step = find_code(token_key, row, folded, now)
        if step is not None and await totp.use_step(tx, row.account, step):
            return "right"
    elif await totp.use_recovery_code(tx, row.account, hash_recovery_code(token_key, row.account, code)):
        return "recovered"
    await totp.add_failure(tx, row.account, now)
    return "wrong"


async def note_recovered(tx: Tx, account: tuple[int, str], now: int, by: By) -> None:
    """Remember that an account (its id and name) has used a recovery code up, and how many it has left."""
    number, name = account
    left = await totp.count_recovery_codes(tx, number)
    await events.add_event(tx, Event("user.totp.recovered", name, name, {"left": left}), now, by)


def find_code(token_key: bytes, row: TotpRow, folded: str, now: int) -> int | None:
    """The step of a code that is good now and was not used; None for a wrong one. Raises CodeNeeded."""
    secret = open_secret(token_key, row)
    return find_step(secret, folded, now // SECOND, row.last_step) if CODE.fullmatch(folded) else None


def is_waiting(row: TotpRow, now: int) -> bool:
    """Whether so many codes were wrong that none is looked at for a while."""
    return now < row.failed_at + wait_seconds(row.failures) * SECOND


def wait_seconds(failures: int) -> int:
    """How long nothing is tried after so many wrong codes in a row."""
    if failures < FREE_FAILURES:
        return 0
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS << min(failures - FREE_FAILURES, MOST_DOUBLINGS))


def require_right(verdict: Verdict) -> None:
    """Raises CodeNeeded unless a code was right."""
    if verdict == "waits":
        raise CodeNeeded("there were too many wrong codes; wait a while, an hour at most, and try once more")
    if verdict == "wrong":
        raise CodeNeeded("the code is wrong, or was used already; wait for the next one")


def _key(token_key: bytes) -> bytes:
    return hmac.digest(token_key, b"secrets of authenticators", "sha256")

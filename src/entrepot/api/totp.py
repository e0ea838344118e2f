"""One-time codes: `/users/…/totp`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar.params import JSONBody

from entrepot.api.request import InPath, TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import totp

LONGEST_CODE: Final = 40
Code = Annotated[str, msgspec.Meta(max_length=LONGEST_CODE, description="Six digits of an authenticator.")]
AnyCode = Annotated[
    str, msgspec.Meta(max_length=LONGEST_CODE, description="Six digits of an authenticator, or a recovery code.")
]
Present = Annotated[str, msgspec.Meta(max_length=256, description="The present password.")]


class Totp(Answer, frozen=True):
    """Whether a user is asked for one-time codes, since when, and how many recovery codes are left."""

    enabled: bool
    since: datetime | None
    recovery_codes: int


class BeginTotp(Document, frozen=True):
    """What begins: the present password."""

    password: Present


class NewTotp(Answer, frozen=True):
    """A secret for an authenticator, in base32 and as `otpauth:` URI; not in use until it is confirmed."""

    secret: str
    uri: str


class ConfirmTotp(Document, frozen=True):
    """The first code that the authenticator shows."""

    code: Code


class RecoveryCodes(Answer, frozen=True):
    """Codes for when the authenticator is lost, each good once; nobody can show them again."""

    recovery_codes: list[str]


class TotpProof(Document, frozen=True):
    """What users prove; administrators who act for others leave both out."""

    password: Present | None = None
    code: AnyCode | None = None


async def get(registry: TheRegistry, caller: TheCaller, user: InPath) -> Totp:
    """Whether a user is asked for one-time codes: for that user, and for administrators."""
    status = await totp.get_status(registry, caller, user)
    return Totp(status.enabled, time_of(status.since) if status.since else None, status.recovery_codes)


async def begin(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[BeginTotp]) -> NewTotp:
    """Make the secret for your authenticator, which is shown this once."""
    enrolment = await totp.begin(registry, caller, user, data.password)
    return NewTotp(enrolment.secret, enrolment.uri)


async def confirm(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[ConfirmTotp]) -> RecoveryCodes:
    """Ask for codes from now on; tokens of the password alone are void. Answers ten recovery codes, shown this once."""
    return RecoveryCodes(await totp.confirm(registry, caller, user, data.code))


async def disable(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[TotpProof]) -> None:
    """Ask for codes no more: by password and code, or as an administrator for somebody else."""
    await totp.disable(registry, caller, user, totp.Proof(data.password, data.code))


async def renew(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[TotpProof]) -> RecoveryCodes:
    """Make ten other recovery codes, shown this once; those before are void."""
    return RecoveryCodes(await totp.renew_recovery_codes(registry, caller, user, totp.Proof(data.password, data.code)))

"""Addresses of users: `/users/…/email`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar.params import JSONBody

from entrepot.api.request import InPath, TheCaller, TheRegistry
from entrepot.api.types import Address, Answer, Document, MailCode, time_of
from entrepot.core import emails
from entrepot.metadata.emails import EmailRow


class Email(Answer, frozen=True):
    """The proved address of a user, null where there is none, and since when it is that."""

    email: str | None
    verified_at: datetime | None


class NewEmail(Document, frozen=True):
    """Another address. Users give their `password`; administrators may vouch with `verified`."""

    email: Address
    password: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    verified: bool = False


class ConfirmEmail(Document, frozen=True):
    """The code of the mail."""

    code: MailCode


class Asked(Answer, frozen=True):
    """What happens next."""

    message: str


def _email(row: EmailRow | None) -> Email:
    return Email(row.address, time_of(row.verified_at)) if row else Email(None, None)


async def get(registry: TheRegistry, caller: TheCaller, user: InPath) -> Email:
    """The address of a user: for that user, and for administrators."""
    return _email(await emails.get_email(registry, caller, user))


async def put(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[NewEmail]) -> Asked:
    """Send a code to an address, which is the user's once it is confirmed; administrators may vouch for it instead."""
    await emails.set_email(registry, caller, user, emails.NewEmail(data.email, data.password, data.verified))
    return Asked("the address is set" if data.verified else "a mail with a code is on its way; confirm with it")


async def confirm(registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[ConfirmEmail]) -> Email:
    """Confirm your address with the code that was sent to it."""
    return _email(await emails.confirm_email(registry, caller, user, data.code))


async def remove(registry: TheRegistry, caller: TheCaller, user: InPath) -> None:
    """Forget the address of a user."""
    await emails.remove_email(registry, caller, user)

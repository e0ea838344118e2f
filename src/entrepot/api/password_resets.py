"""Forgotten passwords: `/password-resets`, and `/users/…/reset-code` of administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar.params import JSONBody

from entrepot.api.emails import Asked
from entrepot.api.request import InPath, TheCaller, TheRegistry
from entrepot.api.types import Answer, Document, MailCode, Password, time_of
from entrepot.core import resets


class NewReset(Document, frozen=True):
    """Whose password is forgotten: the name of a user, or their address."""

    user: Annotated[str, msgspec.Meta(description="A user name or an e-mail address.")]


class ConfirmReset(Document, frozen=True):
    """The code of the mail, and the password that is chosen by it."""

    code: MailCode
    password: Password


class ResetCode(Answer, frozen=True):
    """A code for another password, which nobody can show again."""

    code: str
    expires_at: datetime


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewReset]) -> Asked:
    """Ask for a mail with a code for another password; the answer is the same whether there is such a user or not."""
    await resets.request_reset(registry, caller, data.user)
    return Asked("if there is such a user with an address, a mail is on its way")


async def confirm(registry: TheRegistry, caller: TheCaller, data: JSONBody[ConfirmReset]) -> None:
    """Choose another password by a code. Every token made before is void."""
    await resets.confirm_reset(registry, caller, data.code, data.password)


async def make_code(registry: TheRegistry, caller: TheCaller, user: InPath) -> ResetCode:
    """Make a code for another password of a user, to be handed over without mail; it holds for a day."""
    code, until = await resets.make_reset_code(registry, caller, user)
    return ResetCode(code, time_of(until))

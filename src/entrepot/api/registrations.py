"""Accounts that people make themselves: `/registrations`."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from entrepot.api.emails import Asked
from entrepot.api.request import TheCaller, TheRegistry, created
from entrepot.api.types import Address, Answer, Document, FreeName, MailCode, Password
from entrepot.core import registrations


class NewRegistration(Document, frozen=True):
    """The address that an account is wanted for."""

    email: Address


class ConfirmRegistration(Document, frozen=True):
    """The code of the mail, and the name and password that are chosen by it."""

    code: MailCode
    name: FreeName
    password: Password


class Registered(Answer, frozen=True):
    """An account that was just made."""

    name: str


async def create(registry: TheRegistry, caller: TheCaller, data: JSONBody[NewRegistration]) -> Asked:
    """Ask for a mail with a code for a new account; the answer is the same whether the address has one or not."""
    await registrations.request_registration(registry, caller, data.email)
    return Asked("if mails reach this address, one is on its way that says what to do")


async def confirm(
    registry: TheRegistry, caller: TheCaller, data: JSONBody[ConfirmRegistration]
) -> Response[Registered]:
    """Make the account that a code is for, in the organisation that it invites into."""
    new = registrations.Registration(data.name, data.password)
    made = await registrations.confirm_registration(registry, caller, data.code, new)
    return created(f"/users/{made.name}", Registered(made.name))

"""What faces tell the audit log: who signed in and who failed to, and what was refused."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec

from entrepot.core.registry import by_of
from entrepot.domain.access import Action, Caller
from entrepot.domain.audit import By, Category, new_record, plain_name
from entrepot.domain.errors import Denied, EntrepotError, Unauthenticated
from entrepot.domain.json import render_json
from entrepot.domain.secrets import is_secret
from entrepot.wire.context import Context
from entrepot.wire.messages import Request

T = TypeVar("T")
SIGN_IN: Final = "sign-in"
CONNECT: Final = "connect"


class Claim(msgspec.Struct, frozen=True):
    """Who somebody says they are, as far as it can be a name, and by which kind of proof."""

    name: str
    method: str


async def watch(context: Context, request: Request, claim: Claim, proving: Awaitable[T]) -> T:
    """What the proof answers; one that fails is a sign-in that failed, and is raised."""
    try:
        return await proving
    except (Unauthenticated, Denied) as error:
        failed(context, request, claim, error)
        raise


def failed(context: Context, request: Request, claim: Claim, error: EntrepotError) -> None:
    """Somebody has not proved who they say they are."""
    _note(context, claim.name, By(0, _address(context, request), claim.method), error)


def entered(context: Context, request: Request, caller: Caller) -> None:
    """Somebody has proved who they are, just now."""
    by = By(caller.identity.account if caller.identity else 0, _address(context, request), caller.method)
    _note(context, caller.identity.name if caller.identity else "", by, None)


def refused(context: Context, caller: Caller, asked: tuple[Action, str], refusal: tuple[str, tuple[str, ...]]) -> None:
    """Somebody may not do what they asked for: the id of the refusal, and its reasons."""
    (action, resource), (denial, reasons) = asked, refusal
    name = caller.identity.name if caller.identity else ""
    now = context.registry.clock.now()
    record = new_record(Category.DENIAL, action.value, now, (name, by_of(caller)), resource)
    detail = render_json({"denial": denial}).decode()
    context.registry.audit.note(msgspec.structs.replace(record, is_allowed=False, reasons=reasons, detail=detail))


def shut_out(context: Context, request: Request) -> None:
    """Somebody came from a network that the registry does not answer."""
    by = By(0, _address(context, request), "")
    record = new_record(Category.DENIAL, CONNECT, context.registry.clock.now(), ("", by))
    reasons = ("server.allow_networks and server.deny_networks leave this network out",)
    context.registry.audit.note(msgspec.structs.replace(record, is_allowed=False, reasons=reasons))


def claim_of(header: bytes | None) -> Claim:
    """Who an Authorization header says it is of."""
    scheme, _, credentials = (header or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return Claim("", "secret" if is_secret(credentials.strip().decode("latin-1")) else "registry-token")
    try:
        name, _, password = b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        return Claim("", "password")
    return claim_by(name, password)


def claim_by(name: str, password: str) -> Claim:
    """Who a name and a password say they are of."""
    return Claim(plain_name(name), "secret" if is_secret(password) else "password")


def _note(context: Context, name: str, by: By, error: EntrepotError | None) -> None:
    record = new_record(Category.SIGN_IN, SIGN_IN, context.registry.clock.now(), (name, by))
    if error is not None:
        record = msgspec.structs.replace(record, is_allowed=False, reasons=(error.message,))
    context.registry.audit.note(record)


def _address(context: Context, request: Request) -> str:
    return context.addresses.client(request)

"""Secrets: personal tokens (`/users/…/tokens`), those of service accounts (`…/secrets`) and `/login-password`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response
from litestar.params import JSONBody

from entrepot.api.request import Ids, InPath, TheCaller, TheRegistry, created, id_of
from entrepot.api.types import Answer, Document, time_of
from entrepot.core import credentials
from entrepot.core.credentials import LOGIN_SECONDS, Holder, Made, NewSecret
from entrepot.domain.errors import CredentialUnknown
from entrepot.domain.scopes import MOST_SCOPES
from entrepot.domain.secrets import NAME, SecretKind
from entrepot.metadata.credentials import CredentialRow

MOST_DAYS: Final = 3650
SHORTEST_SECONDS: Final = 60
COMPONENT: Final = "[a-z0-9]+(?:[._-][a-z0-9]+)*"
ACTIONS: Final = "(?:pull|push|delete)(?:,(?:pull|push|delete))*"
SCOPE: Final = rf"^(?:pull|push|delete|admin|repository:(?:\*\*|{COMPONENT}(?:/{COMPONENT})*(?:/\*\*?)?):{ACTIONS})$"

SecretName = Annotated[
    str, msgspec.Meta(description="What people call it.", extra_json_schema={"pattern": f"^(?:{NAME.pattern})$"})
]
Scope = Annotated[
    str,
    msgspec.Meta(
        description="pull, push, delete, admin, or repository:NAME:ACTIONS, the name with * and ** as patterns.",
        extra_json_schema={"pattern": SCOPE, "maxLength": 200},
    ),
]


class Secret(Answer, frozen=True):
    """A secret as it is seen after it was made. Without `scopes`, all that its account may do, but no administration.

    `kind` is `pat` for a personal token, `svc` for the secret of a service account, `tmp` for a login password.
    """

    id: int
    kind: SecretKind
    name: str
    hint: str
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None


class NewlyMade(Answer, frozen=True):
    """A secret with itself in clear, which nobody can show again."""

    secret: str
    details: Secret


class Secrets(Answer, frozen=True):
    """A page of secrets in the order in which they were made; ended ones are kept for 30 days."""

    secrets: list[Secret]


class NewSecretDocument(Document, frozen=True):
    """A secret to be made. It holds for `days`, or until it is revoked."""

    name: SecretName
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(extra_json_schema={"maxItems": MOST_SCOPES})] = ()
    days: Annotated[int, msgspec.Meta(ge=1, le=MOST_DAYS)] | None = None


class LoginPassword(Answer, frozen=True):
    """What `docker login` takes for the next hours."""

    username: str
    password: str
    expires_at: datetime


class NewLoginPassword(Document, frozen=True):
    """How long it is to hold: 12 hours at most, and no longer than the secret that it is asked for with."""

    seconds: Annotated[int, msgspec.Meta(ge=SHORTEST_SECONDS, le=LOGIN_SECONDS)] = LOGIN_SECONDS


def _user(name: str) -> Holder:
    return Holder(name, "user")


def _service(name: str) -> Holder:
    return Holder(name, "service")


def _number(text: str) -> int:
    number = id_of(text)
    if number is None:
        raise CredentialUnknown("this account has no such secret", id=text[:20])
    return number


def _time(at: int | None) -> datetime | None:
    return None if at is None else time_of(at)


def _secret(row: CredentialRow) -> Secret:
    ends = (_time(row.expires_at), _time(row.used_at), _time(row.revoked_at))
    made = time_of(row.created_at)
    return Secret(row.id, row.kind, row.name, row.hint, list(row.scopes), row.created_by, made, *ends)


def _place(made: Made) -> str:
    holder = made.holder
    start = f"/users/{holder.name}/tokens" if holder.kind == "user" else f"/service-accounts/{holder.name}/secrets"
    return f"{start}/{made.row.id}"


def _made(made: Made) -> Response[NewlyMade]:
    return created(_place(made), NewlyMade(made.secret, _secret(made.row)))


async def list_of_user(registry: TheRegistry, caller: TheCaller, user: InPath, ids: Ids) -> Response[Secrets]:
    """The personal tokens and login passwords of a user: for that user, and for administrators."""
    page = (ids.after, ids.limit)
    rows, following = await credentials.list_credentials(registry, caller, _user(user), page)
    return ids.answer(Secrets([_secret(row) for row in rows]), following)


async def create_of_user(
    registry: TheRegistry, caller: TheCaller, user: InPath, data: JSONBody[NewSecretDocument]
) -> Response[NewlyMade]:
    """Make a personal token, which is shown this once."""
    new = NewSecret(data.name, data.scopes, data.days)
    return _made(await credentials.add_credential(registry, caller, _user(user), new))


async def get_of_user(registry: TheRegistry, caller: TheCaller, user: InPath, token: InPath) -> Secret:
    """One personal token or login password of a user, without itself."""
    return _secret(await credentials.get_credential(registry, caller, _user(user), _number(token)))


async def revoke_of_user(registry: TheRegistry, caller: TheCaller, user: InPath, token: InPath) -> None:
    """Revoke a personal token or login password at once, with every token that was asked for with it."""
    await credentials.revoke_credential(registry, caller, _user(user), _number(token))


async def list_of_service(registry: TheRegistry, caller: TheCaller, account: InPath, ids: Ids) -> Response[Secrets]:
    """The secrets and login passwords of a service account."""
    page = (ids.after, ids.limit)
    rows, following = await credentials.list_credentials(registry, caller, _service(account), page)
    return ids.answer(Secrets([_secret(row) for row in rows]), following)


async def create_of_service(
    registry: TheRegistry, caller: TheCaller, account: InPath, data: JSONBody[NewSecretDocument]
) -> Response[NewlyMade]:
    """Make a further secret of a service account, which is shown this once; the others stay good."""
    new = NewSecret(data.name, data.scopes, data.days)
    return _made(await credentials.add_credential(registry, caller, _service(account), new))


async def get_of_service(registry: TheRegistry, caller: TheCaller, account: InPath, secret: InPath) -> Secret:
    """One secret of a service account, without itself."""
    return _secret(await credentials.get_credential(registry, caller, _service(account), _number(secret)))


async def revoke_of_service(registry: TheRegistry, caller: TheCaller, account: InPath, secret: InPath) -> None:
    """Revoke a secret at once, with every token that was asked for with it."""
    await credentials.revoke_credential(registry, caller, _service(account), _number(secret))


async def create_login_password(
    registry: TheRegistry, caller: TheCaller, data: JSONBody[NewLoginPassword]
) -> Response[LoginPassword]:
    """Make a password for the next hours, for `docker login`: it admits what the credentials of this request admit."""
    made = await credentials.add_login_password(registry, caller, data.seconds)
    return created(_place(made), LoginPassword(made.holder.name, made.secret, time_of(made.row.expires_at or 0)))

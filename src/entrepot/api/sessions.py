"""Browsers that somebody signed in with: `/sessions`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Response
from litestar.params import QueryParameter

from entrepot.api.request import Ids, InPath, TheCaller, TheRegistry, id_of
from entrepot.api.types import Answer, time_of
from entrepot.core import sessions
from entrepot.domain.errors import CredentialUnknown
from entrepot.domain.names import LONGEST_NAMESPACE
from entrepot.metadata.sessions import SessionRow

OfUser = Annotated[
    str,
    QueryParameter(
        name="user", max_length=LONGEST_NAMESPACE, description="Those of this user, for administrators; else your own."
    ),
]


class Session(Answer, frozen=True):
    """A browser that somebody signed in with. `by` is the provider, or `password`."""

    id: int
    user: str
    by: str
    address: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


class Sessions(Answer, frozen=True):
    """A page of sessions that hold, in the order in which they were opened."""

    sessions: list[Session]


def _session(row: SessionRow) -> Session:
    times = (time_of(row.created_at), time_of(row.seen_at), time_of(row.until))
    return Session(row.id, row.name, row.provider or sessions.PASSWORD, row.address, row.agent, *times)


async def list_page(registry: TheRegistry, caller: TheCaller, ids: Ids, user: OfUser = "") -> Response[Sessions]:
    """The browsers that you, or for administrators another user, are signed in with."""
    rows, following = await sessions.list_sessions(registry, caller, user, (ids.after, ids.limit))
    return ids.answer(Sessions([_session(row) for row in rows]), following)


async def end(registry: TheRegistry, caller: TheCaller, session: InPath) -> None:
    """Sign a browser out at once: your own, or as an administrator anybody's."""
    number = id_of(session)
    if number is None:
        raise CredentialUnknown("there is no such session, or it is not yours to end", id=session[:20])
    await sessions.end_session(registry, caller, number)

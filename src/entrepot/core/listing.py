"""Listing: tags, repositories and referrers, each a page of one indexed range."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TypeVar

import msgspec

from entrepot.core.decide import decide
from entrepot.core.registry import Registry
from entrepot.core.repositories import get_repository
from entrepot.domain.access import Action, Caller
from entrepot.domain.digests import Digest
from entrepot.domain.names import RepositoryName
from entrepot.metadata import manifests, repositories, tags
from entrepot.metadata.repositories import RepositoryRow
from entrepot.ports.database import Tx

T = TypeVar("T")
LAST = "\U0010ffff"


class Page(msgspec.Struct, frozen=True):
    """Which part of a listing is asked for: what comes after `after`, at most `limit` entries."""

    after: str
    limit: int


async def list_tags(registry: Registry, repository: RepositoryName, page: Page) -> tuple[list[str], str | None]:
    """Names of tags in byte order, and after which the next page begins. Raises NameUnknown."""
    names = await registry.database.read(lambda tx: tags.list_tag_names(tx, repository, page.after, page.limit + 1))
    if not names:
        await registry.database.read(lambda tx: get_repository(tx, repository))
    return names[: page.limit], _next(names, page)


async def list_repositories(
    registry: Registry, caller: Caller, page: Page, *, within: str = ""
) -> tuple[list[RepositoryRow], str | None]:
    """Repositories that the caller may pull from, in order, and after which name the next page begins.

    `within` is a prefix such as `acme/`.
    """
    # What another worker was told a moment ago must be in the list already.
    await registry.policy.refresh()
    ranges = registry.policy.visible_ranges(caller)
    prefixes = [""] if ranges is None else ranges
    low, high = _span(within)
    first = max(0, bisect_right(prefixes, max(low, page.after)) - 1)

    async def collect(tx: Tx) -> list[RepositoryRow]:
        rows: list[RepositoryRow] = []
        for number in range(first, len(prefixes)):
            start, end = _span(prefixes[number])
            after, before = max(start, low, page.after), min(end, high)
            if start > high or len(rows) > page.limit:
                break
            while after < before and len(rows) <= page.limit:
                wanted = page.limit + 1 - len(rows)
                batch = await repositories.list_repositories(tx, after, before, wanted)
                # What is hidden goes before the page is cut: a Link names the last entry of its page.
                rows += [row for row in batch if ranges is None or may_list(registry, caller, row.name)]
                after = batch[-1].name if len(batch) == wanted else before
        return rows

    found = await registry.database.read(collect)
    return found[: page.limit], _next([row.name for row in found], page)


def may_list(registry: Registry, caller: Caller, name: str) -> bool:
    """Whether a repository belongs into this caller's listings; a catalogue token admits listing, not pulling."""
    return decide(registry.policy.snapshot, caller.identity, Action.PULL, name, caller.origin).allowed


async def list_referrers(
    registry: Registry, caller: Caller, repository: RepositoryName, wanted: tuple[Digest, str | None], page: Page
) -> tuple[list[str], str | None]:
    """Descriptors (JSON) of referrers, and after which digest the next page begins; none known is an empty list.

    `wanted` is the subject and perhaps an artifact type. Raises NameUnknown to whoever has no role in the namespace.
    """
    subject, artifact_type = wanted
    found = await registry.database.read(
        lambda tx: manifests.list_referrers(tx, repository, subject, artifact_type, (page.after, page.limit + 1))
    )
    if (
        not found
        and not decide(
            registry.policy.snapshot, caller.identity, Action.PULL, repository.namespace, caller.origin
        ).allowed
    ):
        # To strangers a repository that is not there looks like one that is hidden.
        await registry.database.read(lambda tx: get_repository(tx, repository))
    return [descriptor for _, descriptor in found[: page.limit]], _next([digest for digest, _ in found], page)


def _next(names: list[str], page: Page) -> str | None:
    return names[page.limit - 1] if 0 < page.limit < len(names) else None


def _span(prefix: str) -> tuple[str, str]:
    # Names sort by bytes: everything below acme/ lies between acme/ and acme0. A whole name lies alone.
    if not prefix:
        return "", LAST
    if prefix.endswith("/"):
        return prefix, prefix[:-1] + "0"
    if prefix.endswith("*"):
        return _before(prefix[:-1]), prefix[:-1] + LAST
    return _before(prefix), prefix + "\x01"


def within(prefix: str, name: str) -> bool:
    """Whether a name lies in what `visible_ranges` calls so."""
    start, end = _span(prefix)
    return start < name < end


def _before(name: str) -> str:
    return name[:-1] + chr(ord(name[-1]) - 1) + LAST


def cut(rows: list[T], page: Page, name_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """A page out of rows that were read with one more than it holds, and after which name the next page begins."""
    kept = rows[: page.limit]
    return kept, name_of(kept[-1]) if len(rows) > page.limit else None

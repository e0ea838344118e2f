"""Rows that metadata tests build on."""

from __future__ import annotations

from entrepot.core.registry import SECOND
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.names import RepositoryName
from entrepot.metadata import namespaces, repositories
from entrepot.ports.database import Tx
from tests.contract.engines import Held

NOW = 1_790_000_000 * SECOND
APP = RepositoryName("acme/app")
OTHER = RepositoryName("acme/other")


def digest(content: object) -> Digest:
    """The digest of some content."""
    return digest_of(str(content).encode())


def add_repository(held: Held, name: RepositoryName = APP) -> int:
    """A repository, with its namespace; its id."""

    async def work(tx: Tx) -> int:
        await namespaces.add_namespace(tx, name.namespace, None, "private", NOW)
        await repositories.add_repository(tx, name, NOW)
        found = await repositories.find_repository_id(tx, name)
        assert found is not None
        return found

    return held.transact(work)

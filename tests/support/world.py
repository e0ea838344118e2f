"""A registry of its own for each test: store in memory, a database of its own, a frozen clock, four users.

The database is SQLite in a temporary folder, with `--database postgresql` one of the PostgreSQL of the test run.

| who | is |
|---|---|
| admin | the instance administrator |
| alice | owner of the namespaces `pub` (public) and `priv` (private) |
| bob | nobody in particular |
| carol | reader of `priv` |
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

from entrepot.core.denials import DenialLog
from entrepot.core.namespaces import NamespaceChange, change_namespace
from entrepot.core.policy import Policy
from entrepot.core.registry import Registry, Rules
from entrepot.core.start import FirstAdministrator, prepare
from entrepot.core.tokens import GenuineCache
from entrepot.core.trust import Trust
from entrepot.domain.access import Caller, Identity, Visibility
from entrepot.domain.digests import Digest, digest_of
from entrepot.domain.names import RepositoryName
from entrepot.formats.oci.routes import GRAMMAR
from entrepot.metadata import grants, policy, repositories
from entrepot.metadata.grants import NewGrantRow
from entrepot.ports.database import Database, Row, Tx
from entrepot.ports.directory import Directory
from entrepot.ports.mail import Mail
from entrepot.ports.outside import Outside
from entrepot.ports.store import BlobStore
from entrepot.storage.memory import MemoryStore
from entrepot.wire.addresses import Addresses
from entrepot.wire.bodies import Limits
from entrepot.wire.context import Context
from entrepot.wire.face import Face
from entrepot.wire.redirects import RedirectRules, Redirects
from tests.support.asgi import Answer, Client
from tests.support.clock import FrozenClock
from tests.support.homes import Home, PlainHasher, SqliteHome, new_folder, open_database, password_of
from tests.support.images import Image

T = TypeVar("T")


class World:
    """One registry behind its OCI face, with whatever tests need to look into it."""

    home: ClassVar[Home] = SqliteHome()

    def __init__(
        self,
        *,
        rules: Rules | None = None,
        limits: Limits | None = None,
        public_url: str = "",
        outside: Outside | None = None,
        wrap_store: Callable[[BlobStore], BlobStore] | None = None,
        wrap_database: Callable[[Database], Database] | None = None,
        directory: Directory | None = None,
        mail: Mail | None = None,
        redirect_rules: RedirectRules | None = None,
        folder: str | None = None,
    ) -> None:
        self.runner = asyncio.Runner()
        self.folder = folder or new_folder()
        self.store = MemoryStore()
        self.clock = FrozenClock()
        self.rules = rules or Rules()
        self.limits = limits or Limits()
        self.addresses = Addresses(public_url, [])
        self.directory = directory
        self.outside = outside
        self.mail = mail
        self.redirect_rules = redirect_rules
        self._wrap_store = wrap_store or (lambda store: store)
        self._wrap_database = wrap_database or (lambda database: database)
        self.url, self.ids = self.home.new_database(self.folder)
        self.open()

    def open(self) -> None:
        """Start the registry over what its database and store hold."""
        self.database = self.run(open_database(self.url))
        database = self._wrap_database(self.database)
        self.registry = self.run(self._registry(database))
        store, denials = self.registry.abilities.signs, DenialLog(self.registry.policy.token_key)
        redirects = Redirects(store, self.redirect_rules, self.addresses) if store and self.redirect_rules else None
        self.context = Context(self.registry, self.limits, self.addresses, GenuineCache(), denials, redirects=redirects)
        self.face = Face(self.context, GRAMMAR)

    async def _registry(self, database: Database) -> Registry:
        hasher = PlainHasher()
        ready = await prepare(self.database, self.clock, hasher, FirstAdministrator(password_of("admin"), ""))
        held = Policy(database, ready.token_key)
        await held.refresh()
        store = self._wrap_store(self.store)
        trust = Trust(self.outside)
        return Registry(
            database, store, self.clock, hasher, held, self.rules, self.directory, trust=trust, mail=self.mail
        )

    def restart(self) -> None:
        """Stop the process and start another over the same data."""
        self.run(self.database.close())
        self.open()

    def close(self) -> None:
        """Stop, and forget everything."""
        self.run(self.database.close())
        self.runner.close()
        self.home.drop_database(self.url)
        shutil.rmtree(self.folder)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the world's loop."""
        return self.runner.run(work)

    def transact(self, work: Callable[[Tx], Coroutine[Any, Any, T]]) -> T:
        """Change rows behind the registry's back, and let it see a new policy."""

        async def change() -> T:
            value = await self.database.transact(work)
            await self.registry.policy.refresh()
            return value

        return self.run(change())

    def sibling(self) -> Face:
        """The OCI face of another worker over the same data, as it stands before it next looks at the policy."""
        return Face(self.sibling_context(), GRAMMAR)

    def sibling_context(self) -> Context:
        """What the faces of such a worker are given."""
        registry = self.run(self._registry(self.database))
        return Context(registry, self.limits, self.addresses, GenuineCache(), DenialLog(registry.policy.token_key))

    def rows(self, sql: str, *arguments: object) -> list[Row]:
        """Look into the database."""

        async def look() -> list[Row]:
            return await self.database.read(lambda tx: tx.all(sql, *arguments))

        return self.run(look())

    def grant(self, user: str, resource: str, role: str) -> None:
        """Give a role."""

        async def record(tx: Tx) -> None:
            await grants.put_role(
                tx, NewGrantRow(("account", self.ids[user]), resource, role), "admin", self.clock.now()
            )
            await policy.bump_policy_version(tx)

        self.transact(record)

    def set_visibility(self, repository: str, visibility: Visibility) -> None:
        """Override the visibility of a repository."""

        async def record(tx: Tx) -> None:
            known = await repositories.find_repository_id(tx, RepositoryName(repository))
            assert known is not None
            await repositories.set_visibility(tx, known, visibility)
            await policy.bump_policy_version(tx)

        self.transact(record)

    def keep_untagged(self, days: int, *names: str) -> None:
        """Let alice change for how long her namespaces keep what no tag points at."""
        for name in names or ("pub", "priv"):
            change = NamespaceChange(untagged_days=days)
            self.run(change_namespace(self.registry, self.caller("alice"), name, change))

    def caller(self, user: str) -> Caller:
        """A user as the guard hands them on."""
        return Caller(Identity(self.ids[user], user), None)

    def client(self, user: str = "") -> Client:
        """A client with Basic credentials, or anonymous."""
        client = Client(self.face, self.runner)
        return client.with_headers(authorization=basic(user, password_of(user))) if user else client

    def token(self, user: str, *scopes: str) -> str:
        """An access token for scopes, by the token service; without a user, an anonymous one."""
        query = urlencode([("service", "registry.test"), *(("scope", scope) for scope in scopes)])
        answer = self.client(user).request("GET", f"/token?{query}")
        assert answer.status == 200, answer
        return str(answer.json["token"])

    def bearer(self, user: str, *scopes: str) -> Client:
        """A client with a token for scopes."""
        return self.client().with_headers(authorization=f"Bearer {self.token(user, *scopes)}")

    def push(self, repository: str, image: Image, *tags: str, user: str = "admin") -> Image:
        """Push an image with what it needs, by digest or under tags."""
        client = self.client(user)
        for content in image.blobs:
            push_blob(client, repository, content)
        for child in image.children:
            self.push(repository, child, user=user)
        for reference in tags or (image.digest,):
            answer = put_manifest(client, repository, image, reference)
            assert answer.status == 201, answer
        return image


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def push_blob(client: Client, repository: str, content: bytes) -> Digest:
    """Push a blob in one request."""
    digest = digest_of(content)
    answer = client.request("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
    assert answer.status == 201, answer
    return digest


def put_manifest(client: Client, repository: str, image: Image, reference: str, **headers: str) -> Answer:
    """Push a manifest."""
    target = f"/v2/{repository}/manifests/{reference}"
    return client.request("PUT", target, image.raw, **{"content_type": image.media_type, **headers})

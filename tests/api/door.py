"""The API of a world of four: alice owns `pub` and `priv`, carol reads `priv`, dora writes `priv/app`, bob is nobody.

`pub/app` and `priv/app` hold one image under `latest`, which has moved there from another one.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from entrepot.api.face import ApiFace
from tests.support.asgi import Answer, Client
from tests.support.images import Image, image
from tests.support.world import World, basic, password_of

OLD = image((b"the first layer",))
NEW = image((b"the second layer",))
PRIVATE, PUBLIC = "priv/app", "pub/app"


class Door:
    """Sends documents to `/api/v1` as one of the users."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.face = ApiFace(world.context)
        self.send("admin", "POST", "/users", {"name": "dora", "password": password_of("dora")})
        for repository in (PRIVATE, PUBLIC):
            for pushed in (OLD, NEW):
                self.push(repository, pushed, "latest")
        self.send("admin", "PUT", f"{at(PRIVATE)}/members/dora", {"role": "writer"})

    @classmethod
    def again(cls, door: Door) -> Door:
        """The same world after it was restarted."""
        fresh = cls.__new__(cls)
        fresh.world, fresh.face = door.world, ApiFace(door.world.context)
        return fresh

    def push(self, repository: str, pushed: Image, *tags: str) -> None:
        """Push as a container client does."""
        self.world.push(repository, pushed, *tags)

    def client(self, user: str = "", token: str = "") -> Client:
        """A client as a user, by a token, or as nobody."""
        client = Client(self.face, self.world.runner)
        if token:
            return client.with_headers(authorization=f"Bearer {token}")
        return client.with_headers(authorization=basic(user, password_of(user))) if user else client

    def ask(self, user: str, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        """One exchange about a path below `/api/v1`; a document is sent as JSON."""
        body = b"" if document is None else json.dumps(document).encode()
        if document is not None:
            headers.setdefault("content_type", "application/json")
        return self.client(user).request(method, f"/api/v1{path}", body, **headers)

    def send(self, user: str, method: str, path: str, document: Any = None) -> Any:
        """The same, for what must succeed; the answer's document."""
        answer = self.ask(user, method, path, document)
        assert answer.status < 300, answer
        return answer.json if answer.body else None

    def events(self, kind: str) -> list[tuple[str, str, Any]]:
        """(actor, subject, detail) of every event of a kind, the oldest first."""
        rows = self.world.rows("select actor, subject, detail from event where kind = $1 order by id", kind)
        return [(actor, subject, json.loads(detail)) for actor, subject, detail in rows]

    def version(self) -> int:
        """The version of the policy."""
        return int(self.world.rows("select version from policy")[0][0])


def at(repository: str) -> str:
    """The path of a repository below `/api/v1`."""
    return f"/repositories/{quote(repository, safe='')}"


def tag_at(repository: str, tag: str = "latest") -> str:
    """The path of a tag below `/api/v1`."""
    return f"{at(repository)}/tags/{tag}"

"""A browser without a screen: it keeps cookies, follows redirects within the registry, and fills in forms."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from entrepot.web.face import WebFace
from tests.support.asgi import Answer, Client
from tests.support.world import World, password_of

FORM = "application/x-www-form-urlencoded"
HIDDEN = re.compile(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">')
# What every page must say, whatever it shows.
POLICY = "default-src 'none'"


@dataclass
class Browser:
    """One browser at the pages of a world; `address` is where it is."""

    face: WebFace
    world: World
    address: str = "198.51.100.7"
    cookies: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"

    def get(self, path: str) -> Answer:
        """Ask for a page."""
        return self._send("GET", path)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        """Send a form as it is given."""
        return self._send("POST", path, urlencode(fields).encode(), **headers)

    def submit(self, page: Answer, path: str, **fields: str) -> Answer:
        """Fill in the form of a page, its hidden fields included."""
        hidden = {name: html.unescape(value) for name, value in HIDDEN.findall(page.body.decode())}
        return self.post(path, {**hidden, **fields})

    def sign_in(self, user: str, path: str = "/login") -> Answer:
        """Sign in with the password of a user of the world."""
        return self.submit(self.get(path), "/login", name=user, password=password_of(user))

    def program(self, path: str, fields: dict[str, str]) -> Answer:
        """What a program without cookies is answered."""
        client = Client(self.face, self.world.runner, scope={"client": (self.address, 4000)})
        return client.request("POST", path, urlencode(fields).encode(), content_type=FORM, user_agent="entrepot-cli")

    def _send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body:
            headers.setdefault("content_type", FORM)
        scope = {"client": (self.address, 4000), "scheme": self.scheme}
        client = Client(self.face, self.world.runner, scope=scope)
        answer = client.request(method, path, body, user_agent="Firefox", **headers)
        assert POLICY in answer["content-security-policy"], answer
        assert "<script" not in answer.body.decode()
        for name, value in (pair for pair in answer.pairs if pair[0] == "set-cookie"):
            assert name == "set-cookie"
            assert all(word in value for word in ("HttpOnly", "SameSite=Lax", "Path=/")), value
            key, _, rest = value.partition("=")
            content = rest.partition(";")[0]
            if content:
                self.cookies[key] = content
            else:
                self.cookies.pop(key, None)
        return answer


def browser_at(world: World, address: str = "198.51.100.7") -> Browser:
    """A browser that has been nowhere yet."""
    return Browser(WebFace(world.context), world, address)

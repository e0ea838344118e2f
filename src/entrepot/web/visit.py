"""A visit of a browser: who is signed in, its cookies, and forms that come from our own pages alone."""

from __future__ import annotations

import hmac
import re
from typing import Final
from urllib.parse import parse_qsl

from entrepot.core.sessions import Browser, Opened, close_session, find_session
from entrepot.domain.device import is_token, new_token
from entrepot.domain.errors import Denied, RequestInvalid
from entrepot.metadata.sessions import SessionRow
from entrepot.wire.bodies import read
from entrepot.wire.context import Context
from entrepot.wire.messages import Headers, Request

SESSION: Final = "entrepot"
FORM: Final = "entrepot-form"
SIGN_ON: Final = "entrepot-sign-on"
CSRF: Final = "csrf"
MOST_FIELDS: Final = 50
LONGEST_PATH: Final = 300
# A path of our own: `//host` and `/\host` are addresses of others to a browser.
LOCAL: Final = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~?=&%-]*")
OURS: Final = frozenset({"", "same-origin", "none"})


class Visit:
    """One request of a browser; `session` is None for whoever is not signed in."""

    def __init__(self, context: Context, request: Request) -> None:
        self.request = request
        self.session: SessionRow | None = None
        self.base = context.addresses.base(request)
        self.browser = Browser(context.addresses.client(request), request.text_header(b"user-agent"))
        self._context = context
        self._cookies = _parse_cookies(request)
        self._set: dict[str, tuple[str, int]] = {}
        self._form = ""

    def cookie(self, name: str) -> str:
        """What a cookie holds, "" without one."""
        return self._cookies.get(self._name(name), "")

    def set_cookie(self, name: str, value: str, seconds: int) -> None:
        """Let the browser keep a cookie; none for 0 seconds."""
        self._set[name] = value, seconds

    async def sign_in(self, opened: Opened) -> None:
        """Give the browser the cookie of its session. What it had before, whoever gave it, is worth nothing."""
        if self.session is not None:
            await close_session(self._context.registry, self.session, self.browser.address)
        self._keep(opened.token, opened.until)
        self.set_cookie(FORM, "", 0)

    def csrf(self) -> str:
        """What forms of this browser carry: made of a cookie that no other site can read or, with `__Host-`, set."""
        return _seal(self._context.registry.policy.token_key, self._binding(is_new_allowed=True))

    async def form(self) -> dict[str, str]:
        """The fields of a form of ours. Raises RequestInvalid, and Denied for one that is not of ours."""
        fields = await self.plain_form()
        binding = self._binding(is_new_allowed=False)
        expected = _seal(self._context.registry.policy.token_key, binding)
        is_ours = self.request.text_header(b"sec-fetch-site") in OURS
        if not (is_ours and binding and hmac.compare_digest(expected.encode(), fields.get(CSRF, "").encode())):
            raise Denied("this form is too old, or does not come from this registry; go back, reload, and try again")
        return fields

    async def plain_form(self) -> dict[str, str]:
        """The fields of a form of whoever, for endpoints that look at no cookie. Raises RequestInvalid."""
        limits = self._context.limits
        raw = await read(self.request, limits, limits.form_bytes)
        try:
            fields = dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
        except ValueError:
            raise RequestInvalid("the body is not a readable form") from None
        if any("\0" in value for value in fields.values()):
            raise RequestInvalid("a field of the form holds a NUL")
        return fields

    def cookies_to_set(self) -> Headers:
        """The headers that the answer carries."""
        return [(b"set-cookie", self._render(name, *value).encode("ascii")) for name, value in self._set.items()]

    async def open(self) -> None:
        """Look who is signed in."""
        token = self.cookie(SESSION)
        self.session = await find_session(self._context.registry, token) if token else None
        if self.session is not None and self.session.provider:
            # As long as a provider vouches for somebody, their session is extended, and the cookie must not end before.
            self._keep(token, self.session.until)

    def _keep(self, token: str, until: int) -> None:
        self.set_cookie(SESSION, token, (until - self._context.registry.clock.now()) // 1_000_000)

    def _binding(self, *, is_new_allowed: bool) -> str:
        if self.session is not None:
            return self.cookie(SESSION)
        token = self._form or self.cookie(FORM)
        if not is_token(token):
            token = new_token() if is_new_allowed else ""
            self._form = token
            if token:
                self.set_cookie(FORM, token, 3600)
        return token

    def _name(self, name: str) -> str:
        # The prefix: only over https, only by this very host, for all of its paths.
        return f"__Host-{name}" if self.base.startswith("https://") else name

    def _render(self, name: str, value: str, seconds: int) -> str:
        secure = "; Secure" if self.base.startswith("https://") else ""
        return f"{self._name(name)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


async def open_visit(context: Context, request: Request) -> Visit:
    """A visit, with whoever is signed in."""
    visit = Visit(context, request)
    await visit.open()
    return visit


def local_path(text: str) -> str:
    """A path of ours to go to, `/login` for everything else."""
    return text if len(text) <= LONGEST_PATH and LOCAL.fullmatch(text) else "/login"


def _parse_cookies(request: Request) -> dict[str, str]:
    # As browsers write it and nothing else (RFC 6265, section 4.2.1): what is cut or stripped more generously lets the
    # cookie of another host of the domain look like one with a name of ours. HTTP/2 may send several headers.
    found: dict[str, str] = {}
    twice = set[str]()
    for part in (part for header in request.each_header(b"cookie") for part in header.split(";")):
        name, _, value = part.strip(" \t").partition("=")
        if name in found:
            twice.add(name)
        found[name] = value
    # Of two with one name nobody knows which is ours.
    return {name: value for name, value in found.items() if name not in twice}


def _seal(key: bytes, binding: str) -> str:
    return hmac.digest(key, b"csrf " + binding.encode("utf-8", "replace"), "sha256").hex()

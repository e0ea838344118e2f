"""An OpenID Connect provider on this machine, strict about PKCE, redirects, codes and clients, and told to be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from tests.support.issuer import DISCOVERY, NOW, RSA, Key, LocalIssuer, sign

CLIENT, SECRET = "entrepot", "provider:secret/+"
AUTHORIZE, TOKEN, USERINFO = "/authorize", "/token", "/userinfo"


class LocalProvider(LocalIssuer):
    """The provider; `person` is who is signed in there, `bad` replaces claims of ID tokens (None takes one away)."""

    def __init__(self) -> None:
        self.person: dict[str, Any] = {"sub": "u-1", "preferred_username": "Erin", "email": "erin@example.com"}
        self.person |= {"email_verified": True, "groups": ["devs"]}
        self.bad: dict[str, Any] = {}
        self.key: Key = RSA
        self.now = NOW
        self.codes: dict[str, dict[str, str]] = {}
        self.refreshes: set[str] = set()
        self.gives_refresh = True
        self.gives_id_at_refresh = True
        self.thin = False
        self.forms: list[dict[str, str]] = []
        self.reply: tuple[int, Any] | None = None
        super().__init__()
        self.answers[DISCOVERY] |= {
            "authorization_endpoint": self.url + AUTHORIZE,
            "token_endpoint": self.url + TOKEN,
        }

    def authorize(self, location: str) -> str:
        """What a browser is sent back with by a person who says yes: the path at the registry."""
        parts = urlsplit(location)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert location.startswith(self.url + AUTHORIZE), location
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.url}
        return f"{urlsplit(asked['redirect_uri']).path}?{urlencode(answer)}"

    def redeem(self, authorization: str, fields: dict[str, str]) -> tuple[int, Any]:
        """The token endpoint."""
        self.forms.append(fields)
        if self.reply is not None:
            return self.reply
        if not self._is_client(authorization, fields):
            return 401, {"error": "invalid_client"}
        nonce = ""
        if fields.get("grant_type") == "refresh_token":
            if fields.get("refresh_token") not in self.refreshes:
                return 400, {"error": "invalid_grant"}
            self.refreshes.discard(fields["refresh_token"])
        else:
            asked = self.codes.pop(fields.get("code", ""), None)
            hashed = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
            if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != fields["redirect_uri"]:
                return 400, {"error": "invalid_grant"}
            nonce = asked["nonce"]
        return 200, self._tokens(nonce, is_refresh=not nonce)

    def _tokens(self, nonce: str, *, is_refresh: bool) -> dict[str, str]:
        said = {"sub": self.person["sub"]} if self.thin else self.person
        claims = {"iss": self.url, "aud": CLIENT, "iat": self.now, "exp": self.now + 300, "nonce": nonce or None}
        claims |= {**said, **self.bad}
        token = sign({name: value for name, value in claims.items() if value is not None}, self.key)
        given = {"access_token": "access", "token_type": "Bearer", "id_token": token}
        if is_refresh and not self.gives_id_at_refresh:
            del given["id_token"]
        if self.gives_refresh:
            given["refresh_token"] = secrets.token_urlsafe(8)
            self.refreshes.add(given["refresh_token"])
        return given

    def _is_client(self, authorization: str, fields: dict[str, str]) -> bool:
        if authorization:
            name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            return (unquote(name), unquote(secret)) == (CLIENT, SECRET)
        return (fields.get("client_id"), fields.get("client_secret", SECRET)) == (CLIENT, SECRET)

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        provider, base = self, super()._handler()
        assert isinstance(base, type)

        class Handler(base):  # type: ignore[misc, valid-type]
            def do_POST(self) -> None:  # noqa: N802 - the standard library calls it so
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                status, document = provider.redeem(self.headers.get("authorization", ""), dict(parse_qsl(body)))
                content = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        return Handler

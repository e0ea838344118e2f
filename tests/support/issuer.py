"""An OIDC issuer on this machine: a real HTTP server with real keys, which can be told to be slow, wrong or away."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.support.clock import START

AUDIENCE = "registry.test"
DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"
NOW = START // 1_000_000
# Made once: RSA keys take a while.
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
EC = ECKey.generate_key("P-256", {"kid": "ec"}, private=True)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"}, private=True)
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
Key = RSAKey | ECKey | OKPKey


def sign(claims: dict[str, Any], key: Key = RSA, **header: Any) -> str:
    """A token of these claims; a header may be given that does not fit."""
    kid = str(key.kid)
    protected = {"alg": ALGORITHMS[kid], "kid": kid, "typ": "JWT", **header}
    kept = {name: value for name, value in protected.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jws.serialize_compact(kept, json.dumps(claims).encode(), key, algorithms=[kept["alg"]])


def public_keys(*keys: Key) -> dict[str, Any]:
    """A JWKS of public keys."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


class LocalIssuer:
    """The server; `answers` are the documents by path, `asked` the paths of all requests so far."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.answers: dict[str, Any] = {
            DISCOVERY: {"issuer": self.url, "jwks_uri": self.url + KEYS},
            KEYS: public_keys(RSA, EC, ED),
        }
        self.headers: dict[str, str] = {}

    def __enter__(self) -> LocalIssuer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def claims(self, **more: Any) -> dict[str, Any]:
        """What a job on the main branch of acme/app claims; None takes a claim away."""
        usual = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app",
            "ref": "refs/heads/main",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 300,
            "jti": f"job-{next(_numbers)}",
        }
        return {name: value for name, value in {**usual, **more}.items() if value is not None}

    def token(self, key: Key = RSA, **more: Any) -> str:
        """A token of such a job."""
        return sign(self.claims(**more), key)

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                issuer.hold.wait(20)
                found = issuer.answers.get(self.path.partition("?")[0])
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(issuer.status if found is not None else 404)
                self.send_header("content-length", str(len(body)))
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


_numbers = iter(range(1, 10**9))

"""A CI system for stories: an OIDC issuer on this machine, and the tokens of its jobs.

`ci_issuer.py PORT` serves its keys; `/job?ref=...&audience=...` is what a runner gives to a job of acme/app.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey

KEY = ECKey.generate_key("P-256", {"kid": "story"}, private=True)


class Handler(BaseHTTPRequestHandler):
    """Discovery, keys, and tokens."""

    def do_GET(self) -> None:
        """One of the three."""
        parts = urlsplit(self.path)
        url = f"http://127.0.0.1:{sys.argv[1]}"
        answers: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
            "/keys": {"keys": [KEY.as_dict(private=False)]},
            "/job": {"value": _token(url, dict(parse_qsl(parts.query)))},
        }
        body = json.dumps(answers[parts.path]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _token(url: str, asked: dict[str, str]) -> str:
    now = int(time.time())
    claims = {"iss": url, "aud": asked.get("audience", ""), "iat": now, "nbf": now, "exp": now + 300}
    claims |= {"jti": str(uuid.uuid4()), "repository": "acme/app", "ref": asked.get("ref", "refs/heads/main")}
    return jws.serialize_compact({"alg": "ES256", "kid": "story"}, json.dumps(claims).encode(), KEY)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


# The story that started it may end in any way.
threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

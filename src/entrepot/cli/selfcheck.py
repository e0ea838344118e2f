"""A first request to ourselves by the public address: what a client will find, and what to change if it cannot."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

REALM: Final = re.compile(r'realm="([^"]*)"')
TRIES: Final = 40
PAUSE_SECONDS: Final = 0.25
LIMIT_SECONDS: Final = 5


def check_public_address(public_url: str, ca: str | None) -> str:
    """Ask `GET /v2/` there and compare the realm; empty if a client would get through, else what to change."""
    last = ""
    for _ in range(TRIES):
        try:
            return _judge(public_url, _challenge(public_url, ca))
        except ssl.SSLCertVerificationError as error:
            return (
                f"TLS at {public_url} is not trusted: {error.verify_message}; "
                "use a certificate for that name, or hand the CA to clients"
            )
        except ssl.SSLError as error:
            return f"{public_url} does not speak TLS ({error.reason}); is the scheme of server.public_url right?"
        except (OSError, http.client.HTTPException) as error:
            last = str(error) or type(error).__name__
            time.sleep(PAUSE_SECONDS)
    return f"nobody answers at {public_url} ({last}); set server.public_url to the address that clients use"


def _challenge(public_url: str, ca: str | None) -> tuple[int, str]:
    parts = urlsplit(public_url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(host, parts.port, timeout=LIMIT_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=LIMIT_SECONDS)
    try:
        connection.request("GET", "/v2/")
        response = connection.getresponse()
        return response.status, response.getheader("www-authenticate", "")
    finally:
        connection.close()


def _judge(public_url: str, answer: tuple[int, str]) -> str:
    status, challenge = answer
    if status == http.client.FORBIDDEN:
        return (
            f"{public_url}/v2/ answers 403 to this machine, so that nothing else could be looked at: "
            "server.allow_networks and server.deny_networks, or what stands before the registry, leave it out"
        )
    if status != http.client.UNAUTHORIZED:
        return f"{public_url}/v2/ answers {status} instead of 401: something else answers there"
    match = REALM.search(challenge)
    expected = f"{public_url.rstrip('/')}/token"
    if match is None or match[1] != expected:
        found = match[1] if match else "no realm"
        return (
            f"clients that come by {public_url} are sent to {found} for tokens; "
            "set server.public_url, or name the proxy in server.trusted_proxies and let it pass X-Forwarded-Proto"
        )
    return ""

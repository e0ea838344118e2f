"""OpenID Connect providers over HTTP: discovery, the token endpoint and userinfo, beside what issuers are asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit
from weakref import WeakValueDictionary

import msgspec

from entrepot.authn._issuers import FAILED_SECONDS, FRESH_SECONDS, OK, Issuers, Refused
from entrepot.domain.errors import Unauthenticated, Unavailable
from entrepot.domain.federation import Issuer
from entrepot.ports.providers import Endpoints, Tokens

FORM: Final = "application/x-www-form-urlencoded"
BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"
LONGEST_ERROR: Final = 100
MOST_KNOWN: Final = 100
JSON: Final = {"accept": "application/json", "accept-encoding": "identity"}


class AskedProviders(Issuers):
    """The port Providers. A provider may have its keys and its endpoints at other hosts, as its discovery says."""

    def __init__(self, *, is_private_allowed: bool) -> None:
        super().__init__(is_private_allowed=is_private_allowed)
        self._known: dict[str, tuple[float, Endpoints | str]] = {}
        self._discovering: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def discover(self, issuer: Issuer) -> Endpoints:
        # Strangers may ask for this as often as they like: they all wait for one answer, a bad one included.
        async with self._discovering.setdefault(issuer.url, asyncio.Lock()):
            until, found = self._known.get(issuer.url, (float("-inf"), ""))
            if self._seconds() >= until:
                found = await self._look(issuer.url)
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                seconds = FAILED_SECONDS if isinstance(found, str) else FRESH_SECONDS
                self._known[issuer.url] = self._seconds() + seconds, found
        if isinstance(found, str):
            raise _away(issuer, found)
        return found

    async def redeem(self, issuer: Issuer, form: Mapping[str, str], secret: str) -> Tokens:
        endpoints = await self.discover(issuer)
        client, headers, fields = issuer.audiences[0], {**JSON, "content-type": FORM}, dict(form)
        # Without a list, Basic is what every provider takes (OpenID Connect Discovery, section 3).
        if secret and BASIC in (endpoints.authentications or (BASIC,)):
            pair = f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            fields |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        status, document = await self._ask_json(issuer, endpoints.token, headers, urlencode(fields).encode())
        if status != OK:
            raise _refused(issuer, status, document)
        return Tokens(*(_text(document, name) for name in ("id_token", "access_token", "refresh_token")))

    async def describe(self, issuer: Issuer, access_token: str) -> dict[str, Any]:
        endpoints = await self.discover(issuer)
        if not endpoints.userinfo or not access_token:
            return {}
        headers = {**JSON, "authorization": f"Bearer {access_token}"}
        status, document = await self._ask_json(issuer, endpoints.userinfo, headers, None)
        if status != OK:
            raise _away(issuer, f"its userinfo answers with status {status}")
        return document

    def _require_near(self, address: str, url: str) -> None:
        # Google has its keys at another host than its name. Administrators name providers, and strangers no one.
        del address, url

    async def _look(self, url: str) -> Endpoints | str:
        try:
            return self._read_endpoints(await self._discover(url))
        except Refused as error:
            return str(error)

    def _read_endpoints(self, document: Mapping[str, Any]) -> Endpoints:
        authorization, token = _text(document, "authorization_endpoint"), _text(document, "token_endpoint")
        schemes = {"https", "http"} if self._is_private_allowed else {"https"}
        if _scheme_of(authorization) not in schemes or not token:
            raise Refused("its discovery document has no authorization and token endpoint over https")
        listed = document.get("token_endpoint_auth_methods_supported")
        methods = tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()
        says_issuer = document.get("authorization_response_iss_parameter_supported") is True
        return Endpoints(authorization, token, _text(document, "userinfo_endpoint"), methods, says_issuer)

    async def _ask_json(
        self, issuer: Issuer, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, dict[str, Any]]:
        try:
            status, content = await self._ask(url, headers, body)
        except Refused as error:
            raise _away(issuer, str(error)) from None
        try:
            return status, msgspec.json.decode(content, type=dict[str, Any])
        except (RecursionError, UnicodeDecodeError, msgspec.MsgspecError):
            raise _away(issuer, f"it answers with status {status} and no JSON object") from None


def _refused(issuer: Issuer, status: int, document: Mapping[str, Any]) -> Unauthenticated | Unavailable:
    error = _text(document, "error")[:LONGEST_ERROR]
    if error == "invalid_grant":
        return Unauthenticated(f"{issuer.name} does not take this any more; sign in again", problem="grant")
    return _away(issuer, f"it answers with status {status} {error}".rstrip())


def _away(issuer: Issuer, reason: str) -> Unavailable:
    return Unavailable(f"the provider {issuer.name} cannot be asked: {reason}", issuer=issuer.name, problem="away")


def _scheme_of(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""

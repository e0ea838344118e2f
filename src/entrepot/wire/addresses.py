"""Under which address clients see this registry, and from where a request really came."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from entrepot.wire.messages import Request

HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")

HOP: Final = re.compile(r"\[([0-9A-Fa-f:.%]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


class Addresses:
    """The public address: as configured, else from the request; forwarded headers count from trusted proxies only."""

    def __init__(self, public_url: str, trusted_proxies: Sequence[str]) -> None:
        self._public_url = public_url.rstrip("/")
        self._proxies = [ipaddress.ip_network(proxy, strict=False) for proxy in trusted_proxies]

    def base(self, request: Request) -> str:
        """`scheme://host[:port]` without a slash at the end."""
        if self._public_url:
            return self._public_url
        scheme, host = request.scope["scheme"], request.text_header(b"host")
        if self._proxies and self._is_trusted(self._peer(request)):
            scheme = _first(request.text_header(b"x-forwarded-proto")) or scheme
            host = _first(request.text_header(b"x-forwarded-host")) or host
        return f"{'https' if scheme == 'https' else 'http'}://{host if HOST.fullmatch(host) else 'localhost'}"

    def client(self, request: Request) -> str:
        """The address that the request came from: the last one that no trusted proxy wrote."""
        address = self._peer(request)
        if not self._proxies:
            return address
        hops = [_bare(hop.strip()) for hop in request.text_header(b"x-forwarded-for").split(",") if hop.strip()]
        while hops and self._is_trusted(address):
            address = hops.pop()
        return address

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    @staticmethod
    def _peer(request: Request) -> str:
        client = request.scope.get("client")
        return str(client[0]) if client else ""


def _bare(hop: str) -> str:
    # Some proxies write the port as well; no rule about networks would fit that.
    found = HOP.fullmatch(hop)
    return (found[1] or found[2]) if found else hop


def _first(header: str) -> str:
    return header.partition(",")[0].strip()

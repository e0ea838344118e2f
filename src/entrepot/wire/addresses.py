"""Under which address clients see this registry, and from where a request really came."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from entrepot.domain.access import MAIN, Origin
from entrepot.domain.networks import LONGEST, Networks
from entrepot.wire.certificates import Format, name_in_header, name_of_peer
from entrepot.wire.messages import Request

HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")

HOP: Final = re.compile(r"\[([0-9A-Fa-f:.%]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


@dataclass(frozen=True, slots=True)
class Doors:
    """What differs by listener or is told by a proxy: public addresses of listeners, and a client certificate's header.

    No `certificate_header` (small letters) is none. Requests come from one of the networks `allowed` (empty: from
    anywhere), and from none of those `denied`.
    """

    public_urls: Mapping[str, str]
    certificate_header: bytes = b""
    certificate_format: Format = "xfcc"
    allowed: Sequence[str] = ()
    denied: Sequence[str] = ()


ONE_DOOR: Final = Doors({})


class Addresses:
    """The public address: as configured, else from the request; forwarded headers count from trusted proxies only."""

    def __init__(self, public_url: str, trusted_proxies: Sequence[str], doors: Doors = ONE_DOOR) -> None:
        self._public_urls = {MAIN: public_url.rstrip("/")} | {
            name: url.rstrip("/") for name, url in doors.public_urls.items()
        }
        self._is_trusted = Networks(trusted_proxies).holds
        self._doors = doors
        self._is_allowed = Networks(doors.allowed).holds if doors.allowed else None
        self._is_denied = Networks(doors.denied).holds if doors.denied else None

    def base(self, request: Request) -> str:
        """`scheme://host[:port]` without a slash at the end."""
        # The one of the main listener leads to the main listener: others are only known by their own.
        known = self._public_urls.get(listener_of(request))
        if known:
            return known
        scheme, host = request.scope["scheme"], request.text_header(b"host")
        if self._is_trusted(self._peer(request)):
            scheme = _first(request.text_header(b"x-forwarded-proto")) or scheme
            host = _first(request.text_header(b"x-forwarded-host")) or host
        return f"{'https' if scheme == 'https' else 'http'}://{host if HOST.fullmatch(host) else 'localhost'}"

    def client(self, request: Request) -> str:
        """The address that the request came from: the last one that no trusted proxy wrote."""
        address = self._peer(request)
        if not self._is_trusted(address):
            return address
        for hop in _from_the_right(request.text_header(b"x-forwarded-for")):
            address = _bare(hop)[:LONGEST]
            if not self._is_trusted(address):
                break
        return address

    def admits(self, request: Request) -> bool:
        """Whether the registry answers where the request came from at all."""
        if self._is_allowed is None and self._is_denied is None:
            return True
        address = self.client(request)
        if self._is_denied is not None and self._is_denied(address):
            return False
        return self._is_allowed is None or self._is_allowed(address)

    def certificate(self, request: Request, now: int) -> str:
        """The name in the client's certificate, "" without one that holds at `now` (microseconds).

        From a trusted proxy it is what its header says and nothing else, and nothing where no header is asked for: its
        own certificate is not its clients'. Whoever else sends the header is not listened to, and who sends it twice
        has been smuggled to.
        """
        if self._is_trusted(self._peer(request)):
            header = self._doors.certificate_header
            values = [value for name, value in request.scope["headers"] if name == header]
            text = values[0].decode("latin-1") if len(values) == 1 else ""
            return name_in_header(text, self._doors.certificate_format)
        certificate = request.scope.get("entrepot.certificate")
        return name_of_peer(certificate, now) if certificate else ""

    def origin(self, request: Request, now: int) -> Origin:
        """What grants may ask about a request, which came at `now` (microseconds)."""
        return Origin(self.client(request), now, self.certificate(request, now), listener_of(request))

    @staticmethod
    def _peer(request: Request) -> str:
        client = request.scope.get("client")
        return str(client[0]) if client else ""


def listener_of(request: Request) -> str:
    """The listener by which a request came; the main one where there is nothing to tell."""
    return str(request.scope.get("entrepot.listener", MAIN))


def _from_the_right(header: str) -> Iterator[str]:
    """The entries of a list, the last one first, those that are empty left out; no more is read than is asked for."""
    end = len(header)
    while end >= 0:
        start = header.rfind(",", 0, end)
        hop = header[start + 1 : end].strip()
        if hop:
            yield hop
        end = start


def _bare(hop: str) -> str:
    # Some proxies write the port as well; no rule about networks would fit that.
    found = HOP.fullmatch(hop)
    return (found[1] or found[2]) if found else hop


def _first(header: str) -> str:
    return header.partition(",")[0].strip()

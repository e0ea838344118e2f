"""What a worker listens on: sockets with names, their certificates, and who may speak for others there."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

MAIN: Final = "main"
OLDEST: Final = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}
Demand = Literal["off", "optional", "required"]
DEMANDS: Final = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True)
class ClientCertificates:
    """Whether clients are to show certificates, and the files by which those are judged; no `crl` for none."""

    demand: Demand = "off"
    ca: str = ""
    crl: str = ""


ANYBODY: Final = ClientCertificates()


@dataclass(frozen=True)
class Tls:
    """Files of a certificate chain and its key, and the oldest version that is spoken: tls1.2 or tls1.3."""

    certificate: str
    key: str
    oldest: str
    clients: ClientCertificates = ANYBODY

    def load(self) -> ssl.SSLContext:
        """A context for new connections. Raises OSError, ssl.SSLError.

        A new one each time: authorities that are gone must be forgotten.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.minimum_version = OLDEST[self.oldest]
        context.set_alpn_protocols(["http/1.1"])
        # Clients of registries do not resume sessions (Go keeps no tickets by default): making two for each is wasted.
        context.num_tickets = 0
        if self.clients.demand != "off":
            self._judge_clients(context)
        return context

    def _judge_clients(self, context: ssl.SSLContext) -> None:
        context.verify_mode = DEMANDS[self.clients.demand]
        context.load_verify_locations(self.clients.ca)
        # A session that is taken up again would bring a certificate that nobody judges any more.
        context.options |= ssl.OP_NO_TICKET
        if self.clients.crl:
            context.load_verify_locations(self.clients.crl)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


@dataclass(frozen=True)
class Listener:
    """A listening socket by its name. With `proxies` (networks), only they connect, and say who the client is."""

    name: str
    socket: socket.socket
    tls: Tls | None = None
    proxies: tuple[str, ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the event loop may accept connections by itself: not where anything comes before requests.

        What it does not tell of until TLS has begun would be bounded by nothing.
        """
        return self.proxies is None and self.tls is None

    @property
    def arrival(self) -> Arrival | None:
        """What connections are told that come here; None is the main one, of which there is nothing to tell."""
        return None if self.name == MAIN else Arrival(self.name)


@dataclass(frozen=True, slots=True)
class Arrival:
    """By which listener a connection came; and if a proxy relays it, who its client is (None for nobody named)."""

    listener: str
    client: tuple[str, int] | None = None
    is_relayed: bool = False


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is in one of some networks."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _parse(networks))


@lru_cache(maxsize=64)
def _parse(networks: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(network, strict=False) for network in networks]

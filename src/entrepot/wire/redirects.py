"""Whether a client fetches a blob from the store by itself, and with which signed address.

Asked after the guard and the registry have said yes: nobody is given an address who would not have got the bytes. It is
a secret for as long as it holds, and is written nowhere but in the answer.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from entrepot.domain.networks import Networks
from entrepot.metadata.blobs import StoredBlob
from entrepot.ports.store import Signs
from entrepot.wire.addresses import Addresses, listener_of
from entrepot.wire.forwarding import is_below, is_forwarding
from entrepot.wire.messages import Request

# One more request costs more than it spares for what is smaller.
LEAST_BYTES: Final = 256 << 10
LONGEST_AGENT: Final = 1000
# The store would judge them by an entity tag of its own.
CONDITIONS: Final = (b"if-range", b"if-match", b"if-unmodified-since")


class RedirectRules(msgspec.Struct, frozen=True):
    """Who is redirected, and for how many seconds an address holds; empty `listeners` and `networks` are all of them.

    Clients in `streamed_networks`, and those whose User-Agent begins with one of `streamed_clients`, never are.
    """

    seconds: int = 1800
    listeners: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    streamed_networks: tuple[str, ...] = ()
    streamed_clients: tuple[str, ...] = ()


class Redirects:
    """The rules over one store. `counts` says how many pulls were `redirected`, and why the others were streamed."""

    def __init__(self, store: Signs, rules: RedirectRules, addresses: Addresses) -> None:
        self._store = store
        self._rules = rules
        self._addresses = addresses
        self._near, self._far = Networks(rules.networks), Networks(rules.streamed_networks)
        self.counts: dict[str, int] = {}

    async def location(self, request: Request, blob: StoredBlob) -> str | None:
        """Where a GET of a blob is sent to; None where we stream it. Raises Unavailable."""
        reason = self._reason(request, blob)
        location = None
        if not reason:
            location = await self._store.sign(blob.pieces[0].key, self._rules.seconds)
            reason = self._objection(request, urlsplit(location))
            location = None if reason else location
        self.counts[reason or "redirected"] = self.counts.get(reason or "redirected", 0) + 1
        return location

    def _reason(self, request: Request, blob: StoredBlob) -> str:
        """Why the blob is streamed; empty where nothing speaks against a redirect."""
        rules = self._rules
        if blob.size < LEAST_BYTES:
            return "small"
        if len(blob.pieces) != 1:
            return "pieces"
        if rules.listeners and listener_of(request) not in rules.listeners:
            return "listener"
        if not self._may_reach(self._addresses.client(request)):
            return "network"
        agent = request.text_header(b"user-agent")[:LONGEST_AGENT]
        if is_forwarding(agent) or agent.startswith(rules.streamed_clients):
            return "client"
        return "condition" if any(request.header(name) is not None for name in CONDITIONS) else ""

    def _may_reach(self, address: str) -> bool:
        is_near = not self._rules.networks or self._near.holds(address)
        return is_near and not self._far.holds(address)

    def _objection(self, request: Request, store: SplitResult) -> str:
        """What speaks against an address: TLS would end there, or credentials follow by the rule of most clients."""
        base = self._addresses.base(request)
        if base.startswith("https:") and store.scheme != "https":
            return "scheme"
        hosts = (_host(base), _host(f"//{request.text_header(b'host')}"))
        is_near = any(is_below(store.hostname or "", host) for host in hosts)
        return "host" if is_near and request.header(b"authorization") is not None else ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""

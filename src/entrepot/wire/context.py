"""What handlers are given besides the request."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.core.denials import DenialLog
from entrepot.core.rates import Limiter
from entrepot.core.registry import Registry
from entrepot.core.tokens import GenuineCache
from entrepot.wire.addresses import Addresses
from entrepot.wire.bodies import Limits
from entrepot.wire.redirects import Redirects


@dataclass(frozen=True, slots=True)
class Context:
    """The registry with what only HTTP needs: limits of bodies, the address, what was found genuine or refused.

    `limiter` is None where requests are not counted, `redirects` where every blob is streamed.
    """

    registry: Registry
    limits: Limits
    addresses: Addresses
    genuine: GenuineCache
    denials: DenialLog
    limiter: Limiter | None = None
    redirects: Redirects | None = None

"""People by LDAP: OpenLDAP, 389, FreeIPA, Active Directory; the port Directory over ldap3, in threads of its own.

A server that hangs costs a few threads until their time is up: never the event loop, and no other login once it is
known (see `_circuit`).

ldap3 is the library because it is Python all through: python-ldap and bonsai come without wheels, and whoever installs
with pip would need a compiler and the headers of OpenLDAP.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from entrepot.authn._circuit import Circuit
from entrepot.authn._ldap_session import LdapOptions, Session
from entrepot.domain.directory import CONTROL, Person
from entrepot.domain.errors import TooMany, Unavailable

__all__ = ["LdapDirectory", "LdapOptions"]

T = TypeVar("T")

THREADS: Final = 8
LONGEST_QUEUE: Final = 64
LONGEST_NAME: Final = 255
LONGEST_PASSWORD: Final = 1024
# A batch of the periodic check may take longer than a person waits.
FIND_SECONDS: Final = 30.0
AWAY: Final = "the directory is away, so its passwords cannot be checked now; tokens and local accounts work"


class LdapDirectory:
    """The port Directory. Servers are tried in their order within one time limit, those that failed are spared.

    Raises Unavailable at once for a CA file that cannot be read. `now` is a clock in seconds that never goes back.
    """

    def __init__(self, options: LdapOptions, now: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._circuits = {url: Circuit(now) for url in options.urls}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="ldap")
        self._waiting = 0
        try:
            self._context = ssl.create_default_context(cafile=options.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"ldap.ca: cannot use {options.ca}: {error}") from None

    async def log_in(self, name: str, password: str) -> Person | None:
        # An empty password is a bind as nobody, which succeeds whoever is named (RFC 4513, section 5.1.2).
        is_sensible = 0 < len(name) <= LONGEST_NAME and 0 < len(password) <= LONGEST_PASSWORD
        if not is_sensible or CONTROL.search(name) or "\0" in password:
            return None
        if self._waiting >= LONGEST_QUEUE:
            raise _too_many()
        self._waiting += 1
        try:
            return await self._ask(lambda session: session.log_in(name, password), self._options.timeout_seconds)
        finally:
            self._waiting -= 1

    async def find(self, names: Sequence[str]) -> dict[str, Person]:
        return await self._ask(lambda session: session.find(names), max(FIND_SECONDS, self._options.timeout_seconds))

    def away(self) -> Mapping[str, str]:
        return {url: circuit.reason for url, circuit in self._circuits.items() if circuit.reason}

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, work: Callable[[Session], T], seconds: float) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for url, circuit in self._circuits.items():
            # Those that may still be asked share what is left of the time.
            candidates = sum(other.is_passable() for other in self._circuits.values())
            if deadline <= loop.time() or not circuit.enter():
                continue
            try:
                answer = await self._attempt(url, work, (deadline - loop.time()) / candidates)
            except Unavailable as error:
                circuit.fail(error.message)
                continue
            except BaseException:
                circuit.leave()
                raise
            circuit.heal()
            return answer
        # Whoever reads this may be anybody: the addresses of servers are for logs and metrics.
        raise Unavailable(AWAY, reasons=sorted(set(self.away().values())))

    async def _attempt(self, url: str, work: Callable[[Session], T], seconds: float) -> T:
        session = Session(self._options, url, self._context, seconds)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work, session)
        except TimeoutError:
            session.abandon()
            if not session.has_begun and not self._circuits[url].reason:
                raise _too_many() from None
            raise Unavailable("it does not answer") from None


def _too_many() -> TooMany:
    return TooMany("too many passwords are being checked at this moment; try again in a second")

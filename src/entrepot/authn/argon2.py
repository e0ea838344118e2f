"""Passwords by Argon2id, no more at once than there are cores, so that guessing cannot starve pulls."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from entrepot.domain.errors import TooMany

# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane; about 25 ms of one core.
MEMORY_KIB = 19456
PASSES = 2
LONGEST_QUEUE = 64
NICENESS = 10


def _give_way() -> None:
    # Linux has a niceness for each thread: where cores are short, pulls come before guesses. A sandbox may forbid it.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Argon2Hasher:
    """The port PasswordHasher with argon2-cffi, in so many threads.

    Raises TooMany while too many others wait for the same cores.
    """

    def __init__(self, threads: int) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2", initializer=_give_way)
        self._decoy: str | None = None
        self._waiting = 0

    async def hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, password)

    def waiting(self) -> int:
        return self._waiting

    async def verify(self, encoded: str, password: str) -> bool:
        if self._waiting >= LONGEST_QUEUE:
            raise TooMany("too many passwords are being checked at this moment; try again in a second")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, encoded, password)
        finally:
            self._waiting -= 1

    def _verify(self, encoded: str, password: str) -> bool:
        # An unknown user costs as much as a wrong password: the time of an answer tells nobody which it was.
        if not encoded and self._decoy is None:
            self._decoy = self._hasher.hash("decoy")
        try:
            return self._hasher.verify(encoded or self._decoy or "", password) and bool(encoded)
        except (VerificationError, InvalidHashError):
            return False

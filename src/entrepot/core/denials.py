"""What was refused: remembered under an id that the client is told, and explained to whoever is entitled."""

from __future__ import annotations

import hmac
from typing import Final

import msgspec

from entrepot.core.decide import decide
from entrepot.core.registry import DAY, SECOND, Registry
from entrepot.domain.access import Action, Caller
from entrepot.domain.errors import Unavailable, Unknown
from entrepot.metadata import denials
from entrepot.metadata.denials import DenialRow
from entrepot.ports.database import Tx

# So many different refusals are kept at once, and so many a second from then on: a flood of made-up names has ids as
# well, and fills no disk.
MOST_HELD: Final = 1000
NEW_A_SECOND: Final = 20
KEEP_DAYS: Final = 30
MOST_KEPT: Final = 100_000
BATCH: Final = 500
# No letters or digits that look alike: people read these out to each other.
LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
LENGTH: Final = 12


class DenialLog:
    """The refusals of this process that are not stored yet, counted where they are equal.

    Who, what and where make the id, under a key: the same refusal has the same one every time, so that what it is told
    with is the same whether the thing is there or not, and nobody can guess another one.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._held: dict[str, DenialRow] = {}
        self._room = float(MOST_HELD)
        self._seen = 0

    def note(self, caller: Caller, asked: tuple[Action, str], reasons: tuple[str, ...], now: int) -> str:
        """Remember a refusal of an action on a resource; the id to tell the client."""
        action, resource = asked
        account = caller.identity.account if caller.identity else 0
        denial = self._id(f"{account} {action.value} {resource}")
        held = self._held.get(denial)
        if held is None and not self._has_room(now):
            return denial
        actor = caller.identity.name if caller.identity else ""
        first, count = (held.first_at, held.count) if held else (now, 0)
        place = (actor, action.value, resource, caller.origin.address)
        self._held[denial] = DenialRow(denial, account, *place, reasons, first, now, count + 1)
        return denial

    def find(self, denial: str) -> DenialRow | None:
        """A refusal that is not stored yet."""
        return self._held.get(denial)

    def take(self) -> list[DenialRow]:
        """What is to be stored now."""
        held, self._held = self._held, {}
        return list(held.values())

    def give_back(self, rows: list[DenialRow]) -> None:
        """What could not be stored is tried again, beside what has come since."""
        for row in rows:
            newer = self._held.get(row.id)
            if newer is None:
                self._held[row.id] = row
            else:
                self._held[row.id] = msgspec.structs.replace(
                    newer, first_at=row.first_at, count=row.count + newer.count
                )

    def _has_room(self, now: int) -> bool:
        seconds, self._seen = (now - self._seen) / SECOND, now
        self._room = min(float(MOST_HELD), self._room + max(0.0, seconds) * NEW_A_SECOND)
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _id(self, text: str) -> str:
        number = int.from_bytes(hmac.digest(self._key, b"denial " + text.encode(), "sha256"), "big")
        letters = []
        for _ in range(LENGTH):
            number, position = divmod(number, len(LETTERS))
            letters.append(LETTERS[position])
        return "".join(letters)


async def store_denials(registry: Registry, log: DenialLog) -> None:
    """Store what was refused since the last time. Raises Unavailable; what was not stored is tried again."""
    rows = log.take()
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]

        async def record(tx: Tx, batch: list[DenialRow] = batch) -> None:
            for row in batch:
                await denials.put_denial(tx, row)

        try:
            await registry.database.transact(record, durable=False)
        except Unavailable:
            log.give_back(rows[start:])
            raise


async def get_denial(registry: Registry, log: DenialLog, caller: Caller, denial: str) -> DenialRow:
    """A refusal with its reasons: for those who administer what it was about, and for whoever was refused.

    To whoever was refused it says no more than the refusal did. Raises Unknown.
    """
    row = log.find(denial) or await registry.database.read(lambda tx: denials.find_denial(tx, denial))
    if row is None or not _may_ask(registry, caller, row):
        raise Unknown(
            "there is no such refusal, or it is not yours to ask about; new ones take a second", denial=denial
        )
    return row if _administers(registry, caller, row) else msgspec.structs.replace(row, reasons=())


async def expire_denials(registry: Registry) -> int:
    """Forget refusals older than 30 days, and all but the newest hundred thousand; how many there were."""
    oldest = await registry.database.read(lambda tx: denials.find_oldest_of(tx, MOST_KEPT))
    before, total = max(registry.clock.now() - KEEP_DAYS * DAY, oldest), 0
    while gone := await registry.database.transact(lambda tx: denials.remove_denials(tx, before, BATCH)):
        total += gone
    return total


def _may_ask(registry: Registry, caller: Caller, row: DenialRow) -> bool:
    is_own = caller.identity is not None and caller.identity.account == row.account
    return is_own or _administers(registry, caller, row)


def _administers(registry: Registry, caller: Caller, row: DenialRow) -> bool:
    namespace = row.resource.partition(":")[0].partition("/")[0]
    action = Action.NAMESPACE_ADMIN if namespace else Action.ADMIN
    allowed = decide(registry.policy.snapshot, caller.identity, action, namespace, caller.origin).allowed
    return allowed and caller.is_admitted(action, namespace)

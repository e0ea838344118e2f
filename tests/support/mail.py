"""A post office: the port Mail, which keeps every letter."""

from __future__ import annotations

import re

from entrepot.core.jobs import Outcome, run_due
from entrepot.domain.errors import Unavailable
from entrepot.domain.mail import Letter
from tests.support.world import World

CODE = re.compile(r"[2-9a-z]{10}-[2-9a-z]{24}")


class PostOffice:
    """Keeps letters; refuses them while it is closed."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.is_closed = False

    async def send(self, letter: Letter) -> None:
        if self.is_closed:
            raise Unavailable("the post office is closed")
        self.letters.append(letter)

    def deliver(self, world: World) -> list[Letter]:
        """Let the job process of a world run; the letters that came of it."""
        before = len(self.letters)
        work(world)
        return self.letters[before:]

    def code(self, world: World) -> str:
        """The code of the one letter that is on its way."""
        (letter,) = self.deliver(world)
        return code_in(letter)


def work(world: World) -> list[Outcome]:
    """Run what is due; what became of it."""
    return world.run(run_due(world.registry, "a worker"))


def code_in(letter: Letter) -> str:
    """The code that a letter carries."""
    match = CODE.search(letter.text)
    assert match, letter.text
    return match[0]

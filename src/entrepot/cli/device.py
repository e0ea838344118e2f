"""`entrepot login --device`: a page asks who you are, on whatever machine has a browser (RFC 8628)."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from entrepot.cli.output import clean
from entrepot.client.credentials import Login
from entrepot.client.device import DeviceDoor
from entrepot.client.errors import ClientError

ADMIN: Final = "admin"


@Parameter(name="*")
@dataclass(frozen=True)
class ByPage:
    """Logging in by a page."""

    device: Annotated[
        bool, Parameter(help="Print an address and a code to open in any browser; nothing is asked here.", negative="")
    ] = False
    sso: Annotated[bool, Parameter(help="The same; the page offers the providers to sign on with.", negative="")] = (
        False
    )
    scope: Annotated[
        list[str] | None,
        Parameter(
            help="What the login may do at most: pull, push, delete, repository:NAME:ACTIONS or admin; may be "
            "repeated. Without, all that you may do, administration included.",
            negative="",
        ),
    ] = None

    @property
    def is_wanted(self) -> bool:
        """Whether a page is to ask."""
        return self.device or self.sso

    def log_in(self, server: str, ca: str, sleep: Callable[[float], None] = time.sleep) -> Login:
        """The login that somebody gives at the page. Raises ClientError."""
        door = DeviceDoor(server, Login(ca=ca))
        begun = door.begin(platform.node(), self.scope or [ADMIN])
        # To the terminal, so that the answer of --json stays one document.
        print(f"open {clean(begun.page)} in a browser and type the code", file=sys.stderr)
        print(f"\n    {clean(begun.code)}\n", file=sys.stderr)
        print(f"or open {clean(begun.whole_page)}", file=sys.stderr, flush=True)
        pause, left = begun.pause, begun.seconds
        while left > 0:
            sleep(pause)
            left -= pause
            made = door.ask(begun.device_code)
            if isinstance(made, Login):
                return made
            pause += made
        raise ClientError("nobody confirmed the code in time; begin again")


NO_PAGE: Final = ByPage()

"""A server of two workers and a helper, as a process for tests: `python -m tests.server.tiny KIND [CERTIFICATE KEY]`.

Prints its port first, then what happens. KIND is `well`, `broken` or `crashing` (the application does not start),
`slow` (nor does it, after so long that others run steadily by then), `dying` or `failing` (the helper ends at once,
every time) or `deaf` (the helper ignores SIGTERM).
"""

from __future__ import annotations

import os
import signal
import sys
import time

from entrepot.server import supervisor
from entrepot.server.hub import Message, Options, Receive, Scope, Send
from entrepot.server.listeners import Listener, Tls
from entrepot.server.supervisor import FAILED_TO_START, Child, Chores, Supervisor, fork
from entrepot.server.worker import run_worker
from entrepot.settings_sense import parse_listen
from entrepot.telemetry.logs import configure_logs


class Application:
    """Answers with the id of its process."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            start: Message = {"type": "http.response.start", "status": 200, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
            return
        await receive()
        if self.kind == "crashing":
            raise RuntimeError("no application")
        if self.kind in {"broken", "slow"}:
            await send({"type": "lifespan.startup.failed", "message": "there is no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        say("worker stopped")


def say(text: str) -> None:
    """One line for the test."""
    os.write(1, f"{text}\n".encode())


def sleep(kind: str) -> int:
    """The helper."""
    say("helper started")
    if kind == "dying":
        return 7
    if kind == "failing":
        raise RuntimeError("the helper fails")
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
    return 0


def main(kind: str, *files: str) -> int:
    """Serve until SIGTERM."""
    from entrepot.cli.places import open_listener  # noqa: PLC0415 - beside what it is used for

    if kind == "slow":
        supervisor.STEADY_SECONDS = 0.0  # type: ignore[misc]
    # A line is one write, as in a real server: three processes share one pipe.
    configure_logs("info")
    listener = open_listener(*parse_listen("127.0.0.1:0"))
    say(str(listener.getsockname()[1]))
    tls = Tls(*files, "tls1.2") if files else None
    options = Options(stop_seconds=60, files_seconds=30)

    def work() -> int:
        return run_worker(lambda: Application(kind), [Listener("main", listener, tls)], options)

    workers = [Child("worker", lambda: fork(work), FAILED_TO_START, reloads=True) for _ in range(2)]
    helper = Child("helper", lambda: fork(lambda: sleep(kind)))
    chores = Chores(lambda: 0.05, lambda: say("stopping"), lambda: say("reloading"))
    listener_of_parent = Chores(chores.tick, lambda: (chores.stop(), listener.close())[0], chores.reload)
    return Supervisor([*workers, helper], listener_of_parent, 1.0 if kind == "deaf" else 30.0).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

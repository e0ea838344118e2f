"""Structured logs: one JSON document a line on standard error, without secrets."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Final

import msgspec
import structlog

from entrepot.domain.text import storable

FLUSH_SECONDS: Final = 0.2
FLUSH_BYTES: Final = 65536


def configure_logs(level: str) -> None:
    """Make structlog write JSON lines, and what libraries warn of as well; called once by each process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, Libraries) for handler in root.handlers):
        root.addHandler(Libraries(logging.WARNING))


class Libraries(logging.Handler):
    """What libraries say by Python's own logging, such as a task that failed and nobody looked at, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                record.levelno, storable(record.getMessage()), library=record.name, exc_info=record.exc_info or None
            )
        except Exception:  # noqa: BLE001 - whoever had something to say is not to fail of it
            self.handleError(record)


def _encode(document: Any, **_: Any) -> str:
    return msgspec.json.encode(document, enc_hook=str).decode()


class LineBuffer:
    """Lines of the access log, written together a few times a second: a write for each would cost a system call."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: bytes) -> None:
        """Take a line without its end."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            self._lines.append(b"")
            sys.stderr.buffer.write(b"\n".join(self._lines))
            sys.stderr.buffer.flush()
            self._lines.clear()
            self._size = 0

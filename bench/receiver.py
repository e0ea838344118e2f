"""The reference receiver: what a push can cost at least, over HTTP, with durability.

Blocking sockets, one thread a connection, `recv_into` -> hash -> write -> fsync. It speaks just enough of the
distribution API (POST, PATCH, PUT of one blob) to be fed by the same client as the registries. It is no registry:
no authentication, no metadata, and it removes each file once it is durable.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import socket
import sys
import threading

BUFFER_BYTES = 1 << 20
READY_BYTES = 65536


class Session:
    """One connection."""

    def __init__(self, channel: socket.socket, folder: pathlib.Path) -> None:
        self.channel = channel
        self.path = folder / f"upload-{channel.fileno()}"
        self.folder = folder
        self.digest = ""
        self.buffer = bytearray(BUFFER_BYTES)

    def serve(self) -> None:
        """Answer requests until the client goes."""
        with self.channel, contextlib.suppress(ConnectionError):
            pending = b""
            while True:
                head, pending = self._receive_head(pending)
                if not head:
                    return
                pending = self._answer(head, pending)

    def _receive_head(self, pending: bytes) -> tuple[bytes, bytes]:
        while b"\r\n\r\n" not in pending:
            more = self.channel.recv(READY_BYTES)
            if not more:
                return b"", b""
            pending += more
        head, _, rest = pending.partition(b"\r\n\r\n")
        return head, rest

    def _answer(self, head: bytes, rest: bytes) -> bytes:
        method, path, _ = head.split(b" ", 2)
        size = length_of(head)
        if method == b"PATCH":
            rest = self._store(rest, size)
        if method == b"PUT":
            good = path.endswith(self.digest.encode())
            self.path.unlink()
            self._reply(b"201 Created" if good else b"400 Bad Request", b"/blob")
        else:
            self._reply(b"202 Accepted", b"/v2/upload")
        return rest

    def _reply(self, status: bytes, location: bytes) -> None:
        self.channel.sendall(b"HTTP/1.1 %b\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location))

    def _store(self, rest: bytes, size: int) -> bytes:
        hashed = hashlib.sha256(rest[:size])
        with self.path.open("wb", buffering=0) as file:
            file.write(rest[:size])
            left = size - len(rest[:size])
            view = memoryview(self.buffer)
            while left:
                count = self.channel.recv_into(view, min(left, BUFFER_BYTES))
                if not count:
                    raise ConnectionResetError
                hashed.update(view[:count])
                file.write(view[:count])
                left -= count
            os.fsync(file.fileno())
        sync_folder(self.folder)
        self.digest = hashed.hexdigest()
        return rest[size:]


def length_of(head: bytes) -> int:
    """The Content-Length of a request, 0 without one."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def sync_folder(folder: pathlib.Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def main(port: int, folder: pathlib.Path) -> None:
    """Accept for ever."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    while True:
        channel = listener.accept()[0]
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Session(channel, folder).serve, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), pathlib.Path(sys.argv[2]))

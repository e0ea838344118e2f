"""A network namespace with one link to this machine, for clients that treat loopback addresses as special."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import socket
import threading
from collections.abc import Iterator

from tests.clients.machine import Machine, need

PIECE_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Link:
    """One namespace and the two ends of its link."""

    namespace: str
    outside: str
    inside: str


@contextlib.contextmanager
def linked_namespace(machine: Machine) -> Iterator[Link]:
    """Make a namespace whose only way out is a pair of interfaces to this machine; take both away again."""
    # The process number keeps runs beside each other apart.
    number = os.getpid() % 250
    link = Link(f"client{number}", f"10.77.{number}.1", f"10.77.{number}.2")
    near, far = f"near{number}", f"far{number}"
    machine.run("ip", "netns", "add", link.namespace)
    try:
        machine.run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", link.namespace)
        machine.run("ip", "address", "add", f"{link.outside}/30", "dev", near)
        machine.run("ip", "link", "set", near, "up")
        machine.run("ip", "-n", link.namespace, "address", "add", f"{link.inside}/30", "dev", far)
        for interface in (far, "lo"):
            machine.run("ip", "-n", link.namespace, "link", "set", interface, "up")
        yield link
    finally:
        machine.run("ip", "netns", "delete", link.namespace)


def enter(machine: Machine, link: Link, names: str, folders: dict[str, pathlib.Path]) -> None:
    """Let all that this machine starts live in the namespace, know the near end by names, and see its own folders."""
    # The first line that has a name holds, should one of them be that of loopback.
    hosts = machine.write("hosts", f"{link.outside} {names}\n127.0.0.1 localhost\n")
    mounts = {"/etc/hosts": hosts, **folders}
    # Not `ip netns exec`: it mounts /sys anew, without the cgroups that a daemon looks for.
    script = " && ".join(f"mount --bind '{private}' '{public}'" for public, private in mounts.items())
    inside = f'{script} && exec {need("nsenter")} --net=/run/netns/{link.namespace} "$@"'
    machine.prefix = [need("unshare"), "--mount", "--propagation", "private", need("sh"), "-c", inside, "sh"]


@contextlib.contextmanager
def forwarded(address: str, port: int) -> Iterator[None]:
    """Let `address:port` lead to the same port of loopback, until the end of the block."""
    with contextlib.closing(socket.create_server((address, port))) as listener:
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
        yield


def _accept(listener: socket.socket, port: int) -> None:
    # The listener is closed at the end of the block, which ends this thread.
    with contextlib.suppress(OSError):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_carry, args=(near, port), daemon=True).start()


def _carry(near: socket.socket, port: int) -> None:
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)

"""Forwarding the audit log, to real sockets."""

from __future__ import annotations

import asyncio
import json
import pathlib
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

import pytest

from entrepot.cli.certificates import prepare_certificates
from entrepot.core.audit import flush_audit
from entrepot.core.audit_forward import forward
from entrepot.core.audit_seal import seal
from entrepot.domain.errors import Unavailable
from entrepot.notify import syslog
from entrepot.notify.syslog import WINDOW_BYTES, SyslogForwarder
from tests.support.images import image
from tests.support.world import World

MESSAGE = re.compile(
    rb"<(110|108)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ entrepot (\S+) (\S+) "
    rb'(\[entrepot@32473(?: \w+="[^"]*")+\]) '
    rb"(\{.*\})"
)


class Receiver:
    """A syslog receiver over TCP that counts octets, and may go away."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.messages: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut everybody off."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def hang_up(self) -> None:
        """Close the connections properly, and listen on."""
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0.05)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            await self.is_reading.wait()
            while length := await reader.readuntil(b" "):
                self.messages.append(await reader.readexactly(int(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def until(self, count: int) -> None:
        """Wait until so many messages are there."""
        for _ in range(500):
            if len(self.messages) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(len(self.messages))


@pytest.fixture
def logged() -> Iterator[World]:
    """A world in which something has happened and was sealed."""
    with World() as world:
        world.push("pub/app", image((b"layer",)), "v1")
        world.client().request("DELETE", "/v2/pub/app/manifests/v1")
        world.clock.advance(seconds=61)
        world.run(flush_audit(world.registry))
        world.run(seal(world.registry))
        yield world


def test_records_and_roots_are_sent_in_their_order(logged: World) -> None:
    """Each once, as RFC 5424 has it: with its place, refusals as warnings; then nothing until there is more."""

    async def story() -> list[bytes]:
        receiver = Receiver()
        await receiver.start()
        sender = SyslogForwarder(f"tcp://127.0.0.1:{receiver.port}")
        count = await forward(logged.registry, sender)
        assert await forward(logged.registry, sender) == 0
        await receiver.until(count)
        await sender.close()
        await receiver.stop()
        return receiver.messages

    messages = logged.run(story())
    found = [match for match in map(MESSAGE.fullmatch, messages) if match]
    assert len(found) == len(messages)
    assert [match[3] for match in found].count(b"root") == 1
    records = [(match[3].decode(), json.loads(match[5]), match) for match in found if match[3] != b"root"]
    stored = logged.rows("select category, hash from audit order by sequence")
    assert [(category, re.search(rb'hash="(\w+)"', match[4])[1].decode()) for category, _, match in records] == stored
    assert {match[1] for _, record, match in records if not record["is_allowed"]} == {b"108"}


def test_an_outage_loses_nothing(logged: World) -> None:
    """While the receiver is away nothing is passed over; after it everything has come at least once."""

    async def story() -> tuple[Receiver, SyslogForwarder]:
        receiver = Receiver()
        await receiver.start()
        sender = SyslogForwarder(f"tcp://127.0.0.1:{receiver.port}")
        await receiver.until(0)
        await forward(logged.registry, sender)
        await receiver.stop()
        return receiver, sender

    receiver, sender = logged.run(story())
    logged.push("pub/app", image((b"more",)), "v2")
    logged.run(flush_audit(logged.registry))
    with pytest.raises(Unavailable, match="syslog receiver"):
        logged.run(forward(logged.registry, sender))

    async def back() -> None:
        await receiver.start()
        while await forward(logged.registry, sender):
            pass
        [(count,)] = await logged.database.read(lambda tx: tx.all("select count(*) from audit"))
        await receiver.until(count)
        await sender.close()
        await receiver.stop()

    logged.run(back())
    hashes = {match[1].decode() for each in receiver.messages for match in [re.search(rb'hash="(\w+)"', each)] if match}
    assert hashes == {row[0] for row in logged.rows("select hash from audit")}


@pytest.mark.parametrize(("window", "wanted"), [(WINDOW_BYTES, range(9)), (10, range(7, 9))])
def test_what_a_receiver_has_not_read_is_sent_again(window: int, wanted: range) -> None:
    """One that took it and never read it, and was cut off: all of it comes again, as far as the window goes."""

    async def story() -> None:
        receiver = Receiver()
        receiver.is_reading.clear()
        await receiver.start()
        sender = SyslogForwarder(f"tcp://127.0.0.1:{receiver.port}")
        for number in range(8):
            await sender.send([b"message %d" % number])
        await receiver.stop()
        receiver.is_reading.set()
        await receiver.start()
        for _ in range(2):
            with suppress(Unavailable):
                await sender.send([b"message 8"])
        await receiver.until(len(wanted))
        assert list(dict.fromkeys(receiver.messages)) == [b"message %d" % number for number in wanted]
        await sender.close()
        await receiver.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syslog, "WINDOW_BYTES", window)
        asyncio.run(story())


def test_what_a_receiver_has_read_is_not_sent_again() -> None:
    """One that closes properly, as it may after some time of silence, gets what was sent last once more."""

    async def story() -> None:
        receiver = Receiver()
        await receiver.start()
        sender = SyslogForwarder(f"tcp://127.0.0.1:{receiver.port}")
        for number in range(3):
            await sender.send([b"message %d" % number])
        await receiver.until(3)
        await receiver.hang_up()
        await sender.send([b"message 3"])
        await receiver.until(5)
        assert receiver.messages == [b"message %d" % number for number in (0, 1, 2, 2, 3)]
        await sender.close()
        await receiver.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syslog, "RECENT_SECONDS", 0.0)
        asyncio.run(story())


def test_a_receiver_over_tls_must_be_the_right_one(logged: World, tmp_path: pathlib.Path) -> None:
    """With the authority that is named; a certificate of another one is refused, and nothing is passed over."""
    files = prepare_certificates(tmp_path, ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)

    async def story() -> None:
        receiver = Receiver(context)
        await receiver.start()
        url = f"tls://127.0.0.1:{receiver.port}"
        with pytest.raises(Unavailable):
            await forward(logged.registry, SyslogForwarder(url))
        sender = SyslogForwarder(url, str(files.ca))
        count = await forward(logged.registry, sender)
        await receiver.until(count)
        await sender.close()
        await receiver.stop()
        assert all(MESSAGE.fullmatch(message) for message in receiver.messages)

    logged.run(story())


def test_datagrams_are_sent_too(logged: World) -> None:
    """One message each."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)

        async def story() -> int:
            sender = SyslogForwarder(f"udp://127.0.0.1:{receiver.getsockname()[1]}")
            count = await forward(logged.registry, sender)
            await sender.close()
            return count

        count = logged.run(story())
        messages = [receiver.recv(65_536) for _ in range(count)]
    assert all(MESSAGE.fullmatch(message) for message in messages)

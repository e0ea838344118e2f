"""Every request is counted, timed and logged once, and an unforeseen error is a bare 500."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pathlib
from typing import Any

import msgspec
import pytest

from entrepot.metadata.jobs import add_job
from entrepot.telemetry.gauges import count_rows
from entrepot.telemetry.logs import FLUSH_BYTES, Libraries, LineBuffer, configure_logs
from entrepot.telemetry.metrics import Meter, Numbers
from entrepot.telemetry.observe import CALLER, ROUTE, Observed
from entrepot.wire.messages import Message, Receive, Scope, Send
from tests.support.asgi import Answer, Client, eventually, run
from tests.support.world import World

ROUTE_NAME = "/made/{up}"
LABELS = 'method="POST",route="/made/{up}",status="201"'
DEAD = 2**22 + 1  # beyond what the kernel gives out


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that it got; with a path, leaves a file to the server; or fails where it is told to."""
    scope[ROUTE], scope[CALLER] = ROUTE_NAME, "alice"
    if scope["path"] == "/early":
        raise RuntimeError("a secret in a message")
    message = await receive()
    body = message.get("body", b"")
    if scope["path"].startswith("/file"):
        path = scope["path"].removeprefix("/file")
        length = b"%d" % pathlib.Path(path).stat().st_size  # noqa: ASYNC240 - a small file of a test
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        with open(path, "rb") as file:  # noqa: ASYNC230 - the same
            await send({"type": "http.response.zerocopysend", "file": file.fileno(), "offset": 0, "count": int(length)})
        return
    await send({"type": "http.response.start", "status": 201, "headers": []})
    if scope["path"] == "/late":
        raise RuntimeError("too late to say so")
    await send({"type": "http.response.body", "body": body})


def ask(
    path: str, body: bytes = b"hello", *, is_logged: bool = True, meter: Meter | None = None, **scope: Any
) -> Answer:
    """One request to the observed application, its line written at once."""
    with asyncio.Runner() as runner:
        observed = Observed(echo, meter or Meter(), is_logged=is_logged)
        try:
            return Client(observed, runner).with_scope(**scope).request("POST", path, body, user_agent="agent/1")
        finally:
            if observed.lines is not None:
                runner.run(flush(observed.lines))


async def flush(lines: LineBuffer) -> None:
    """Write what is held, on the loop that holds the timer."""
    lines.flush()


def count(meter: Meter, name: str, labels: str = LABELS) -> float:
    """A number out of the metrics; -1 where it is not there."""
    for line in meter.render({}).decode().splitlines():
        if line.startswith(f"{name}{{{labels}}} "):
            return float(line.rpartition(" ")[2])
    return -1.0


def test_requests_are_counted_by_route() -> None:
    """Method and status with them, the time in buckets, and the bytes both ways."""
    meter = Meter()
    for body in (b"hello", b""):
        assert ask("/plain", body, is_logged=False, meter=meter).status == 201
    assert count(meter, "entrepot_http_request_seconds_count") == 2
    assert count(meter, "entrepot_http_sent_bytes_total") == 5
    assert count(meter, "entrepot_http_received_bytes_total") == 5


def test_what_the_server_saw_is_told(tmp_path: pathlib.Path) -> None:
    """Refusals of all processes, the dead ones too, and the connections of the living."""
    meter = Meter(tmp_path)
    meter.refused, meter.connections = {"400": 2}, lambda: 7
    others = [Numbers(DEAD, [], {}, {"400": 1, "431": 5}, 100)]
    (tmp_path / f"{DEAD}.json").write_bytes(msgspec.json.encode(others[0]))
    text = meter.render({}).decode()
    for line in ('refused_total{status="400"} 3.0', 'refused_total{status="431"} 5.0', "entrepot_connections 7.0"):
        assert line in text


@pytest.mark.parametrize(("path", "is_told"), [("/gone", False), ("/lost", True)])
def test_clients_that_go_away_are_no_failure(path: str, is_told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is left to answer, nothing is to be mended; the same error before there is an answer is another matter."""

    async def reset(scope: Scope, receive: Receive, send: Send) -> None:
        if path == "/gone":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionResetError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    configure_logs("info")
    scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    asyncio.run(Observed(reset, Meter(), is_logged=False)(scope, nothing, send))
    assert ("request failed" in capsys.readouterr().err) is is_told
    assert [message["status"] for message in sent if "status" in message] == [500 if is_told else 200]


async def nothing() -> Message:
    """Nothing to receive."""
    return {"type": "http.disconnect"}


def test_a_file_that_the_server_sends_counts(tmp_path: pathlib.Path) -> None:
    """By the length that was promised."""
    meter = Meter()
    (tmp_path / "file").write_bytes(b"x" * 1000)
    assert len(ask(f"/file{tmp_path}/file", meter=meter).body) == 1000
    assert count(meter, "entrepot_http_sent_bytes_total", LABELS.replace("201", "200")) == 1000


def test_a_line_for_each_request(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One JSON document, whatever the path holds; a request without a peer has no client."""
    ask('/a"\n')
    ask("/b", client=None)
    first, second = (json.loads(line) for line in capfdbinary.readouterr().err.splitlines())
    assert (first["path"], first["status"], first["sent"], first["received"]) == ('/a"\n', 201, 5, 5)
    assert (first["user"], first["agent"], first["client"]) == ("alice", "agent/1", "198.51.100.7")
    assert first["timestamp"].endswith("Z")
    assert second["client"] == ""


def test_what_libraries_say_is_a_line_like_others(capfd: pytest.CaptureFixture[str]) -> None:
    """With the name of the library and the trace, once, however often logs are configured."""
    for _ in range(2):
        configure_logs("info")
    logging.getLogger("asyncio").error("a task of %s failed", "somebody", exc_info=ValueError("why"))
    [told] = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (told["event"], told["level"], told["library"]) == ("a task of somebody failed", "error", "asyncio")
    assert "ValueError: why" in told["exception"]


@pytest.mark.parametrize(("text", "argument", "told"), [("\ud800", (), '"event":"?"'), ("%d", ("x",), "TypeError")])
def test_whoever_says_something_does_not_fail_of_it(
    capfd: pytest.CaptureFixture[str], text: str, argument: tuple[str, ...], told: str
) -> None:
    """Text that is none is written as far as it can be, and a library's mistake is told as Python tells it."""
    configure_logs("info")
    [handler] = [each for each in logging.getLogger().handlers if isinstance(each, Libraries)]
    handler.handle(logging.LogRecord("library", logging.ERROR, "", 0, text, argument, None))
    assert told in capfd.readouterr().err


def test_an_unforeseen_error_is_a_bare_500(capfd: pytest.CaptureFixture[str]) -> None:
    """The specification's JSON without a trace to the client, and the trace in the log."""
    configure_logs("info")
    answer = ask("/early")
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert b"secret" not in answer.body
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (problem,) = [line for line in told if line["event"] == "request failed"]
    assert "RuntimeError" in problem["exception"]
    assert [line["status"] for line in told if line["event"] == "request"] == [500]


def test_an_error_behind_the_headers_cuts_the_answer_off(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent after what has begun; the client sees a body without an end."""
    configure_logs("info")
    with pytest.raises(AssertionError, match="the response has no end"):
        ask("/late")
    assert "too late to say so" in capfd.readouterr().err


def test_lines_are_written_together(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """After a moment, or at once when there are many; and none of them is lost."""
    lines = LineBuffer()

    async def write() -> None:
        lines.add(b"first")
        lines.add(b"second")
        assert capfdbinary.readouterr().err == b""
        written: list[bytes] = []

        async def is_written() -> bool:
            written.append(capfdbinary.readouterr().err)
            return b"".join(written) == b"first\nsecond\n"

        await eventually(is_written)
        lines.add(b"third")
        lines.add(b"x" * FLUSH_BYTES)
        assert capfdbinary.readouterr().err == b"third\n" + b"x" * FLUSH_BYTES + b"\n"
        lines.flush()
        assert capfdbinary.readouterr().err == b""

    run(write())


def test_the_level_of_logs(capfd: pytest.CaptureFixture[str]) -> None:
    """What lies below it is not written."""
    import structlog  # noqa: PLC0415 - after the fixture has put standard error in its place

    configure_logs("warning")
    log = structlog.get_logger()
    log.info("quiet")
    log.warning("loud", where=pathlib.Path("/place"))
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (line["event"], line["level"], line["where"]) == ("loud", "warning", "/place")


def test_times_fall_into_buckets() -> None:
    """Each bucket holds what took no longer, and the last holds everything."""
    meter = Meter()
    for seconds in (0.001, 0.002, 61.0):
        meter.add(("/made/{up}", "POST", 201), seconds, 0, 0)
    expected = {"0.001": 1, "0.0025": 2, "60.0": 2, "+Inf": 3}
    for edge, number in expected.items():
        assert count(meter, "entrepot_http_request_seconds_bucket", f'le="{edge}",{LABELS}') == number
    assert count(meter, "entrepot_http_request_seconds_sum") == 61.003


def test_processes_are_summed(tmp_path: pathlib.Path) -> None:
    """What the dead have counted still counts; whoever waited in them waits no more."""
    mine = Meter(tmp_path)
    mine.waiting["passwords"] = 2
    mine.add(("/made/{up}", "POST", 201), 0.1, 5, 7)
    mine.publish()
    mine.publish()
    published = tmp_path / f"{os.getpid()}.json"
    other = msgspec.json.decode(published.read_bytes())
    for process in (DEAD, os.getppid()):
        (tmp_path / f"{process}.json").write_bytes(msgspec.json.encode({**other, "process": process}))
    mine.add(("/made/{up}", "POST", 201), 0.1, 5, 7)
    assert count(mine, "entrepot_http_sent_bytes_total") == 20
    assert count(mine, "entrepot_http_received_bytes_total") == 28
    assert count(mine, "entrepot_waiting", 'kind="passwords"') == 4


def test_a_process_of_its_own_publishes_nothing(tmp_path: pathlib.Path) -> None:
    """Without a folder there is nobody to tell; numbers that others count are shown as they are given."""
    meter = Meter()
    meter.publish()
    assert list(tmp_path.iterdir()) == []
    text = meter.render({"entrepot_jobs": ("Jobs", {"pending": 3.0, "dead": 1.0})}).decode()
    assert 'entrepot_jobs{kind="pending"} 3.0' in text
    assert "# HELP entrepot_jobs Jobs" in text


def test_states_without_jobs_are_zero(world: World) -> None:
    """An alarm for jobs that were given up has a series to look at before there is one."""
    _, states = world.run(count_rows(world.registry))["entrepot_jobs"]
    assert states == {"pending": 0.0, "running": 0.0, "dead": 0.0}
    world.transact(lambda tx: add_job(tx, "mail.send", "", {}, world.clock.now()))
    _, states = world.run(count_rows(world.registry))["entrepot_jobs"]
    assert states == {"pending": 1.0, "running": 0.0, "dead": 0.0}

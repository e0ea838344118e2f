"""Calls commands as a user does, in this process or one of their own, and pushes images for them to look at."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from entrepot.cli.main import main
from tests.support.images import Image
from tests.support.server import ADMIN_PASSWORD, Server

LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Caller:
    """Somebody with a home of their own; `environment` is added to what the tests run in."""

    home: pathlib.Path
    environment: dict[str, str] = field(default_factory=dict)

    def having(self, **environment: str) -> Caller:
        """The same person with more variables set."""
        return Caller(self.home, {**self.environment, **environment})

    def call(self, *words: str, stdin: str = "") -> Done:
        """Run `entrepot WORDS` to its end in this process; it never shows a traceback."""
        output, errors = io.StringIO(), io.StringIO()
        before, folder, argv, source = dict(os.environ), pathlib.Path.cwd(), sys.argv, sys.stdin
        os.environ.clear()
        os.environ.update(self.variables)
        os.chdir(self.home)
        sys.argv, sys.stdin = ["entrepot", *words], io.StringIO(stdin)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                status = _status(main)
        finally:
            os.environ.clear()
            os.environ.update(before)
            os.chdir(folder)
            sys.argv, sys.stdin = argv, source
        return Done(status, output.getvalue(), errors.getvalue())

    def spawn(self, *words: str, stdin: str = "") -> Done:
        """The same in a process of its own, as a shell does it."""
        done = subprocess.run(
            [sys.executable, "-m", "entrepot", *words],
            env=self.variables,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of this person's commands: nothing of ours leaks in from where the tests run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "XDG_"))}
        return {**kept, "HOME": str(self.home), "COLUMNS": "200", **self.environment}

    def run(self, *words: str, stdin: str = "") -> str:
        """The output of a command that must succeed without a word of complaint."""
        done = self.call(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def ask(self, *words: str, stdin: str = "") -> Any:
        """The document that a command prints with `--json`."""
        return json.loads(self.run(*words, "--json", stdin=stdin))

    def fail(self, *words: str, stdin: str = "") -> str:
        """The one line of a command that must fail with exit code 1."""
        done = self.call(*words, stdin=stdin)
        assert (done.returncode, done.stdout) == (1, ""), done
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("entrepot: "), done.stderr
        return lines[0].removeprefix("entrepot: ")

    @property
    def credentials(self) -> pathlib.Path:
        """The file that `entrepot login` keeps."""
        return self.home / ".config" / "entrepot" / "credentials.json"


def push(server: Server, repository: str, image: Image, tag: str) -> None:
    """Push an image as the administrator."""
    for blob in image.blobs:
        digest = Image(blob, "").digest
        _send(server, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", blob, "application/octet-stream")
    _send(server, "PUT", f"/v2/{repository}/manifests/{tag}", image.raw, image.media_type)


def _status(command: Callable[[], None]) -> int:
    try:
        command()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _send(server: Server, method: str, path: str, body: bytes, media_type: str) -> None:
    connection = http.client.HTTPConnection(server.host, timeout=LIMIT_SECONDS)
    pair = base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()
    connection.request(method, path, body, {"authorization": f"Basic {pair}", "content-type": media_type})
    response = connection.getresponse()
    assert response.status == 201, response.read()
    connection.close()

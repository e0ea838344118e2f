"""Calls commands as a user does, each in a process of its own, and pushes images for them to look at."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.support.images import Image
from tests.support.server import ADMIN_PASSWORD, Server

LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Caller:
    """Somebody with a home of their own; `environment` is added to what the tests run in."""

    home: pathlib.Path
    environment: dict[str, str] = field(default_factory=dict)

    def having(self, **environment: str) -> Caller:
        """The same person with more variables set."""
        return Caller(self.home, {**self.environment, **environment})

    def call(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `entrepot WORDS` to its end; it never shows a traceback."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "XDG_"))}
        done = subprocess.run(
            [sys.executable, "-m", "entrepot", *words],
            env={**kept, "HOME": str(self.home), "COLUMNS": "200", **self.environment},
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

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


def _send(server: Server, method: str, path: str, body: bytes, media_type: str) -> None:
    connection = http.client.HTTPConnection(server.host, timeout=LIMIT_SECONDS)
    pair = base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()
    connection.request(method, path, body, {"authorization": f"Basic {pair}", "content-type": media_type})
    response = connection.getresponse()
    assert response.status == 201, response.read()
    connection.close()

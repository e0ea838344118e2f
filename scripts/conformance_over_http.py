"""Run the conformance suite against a server of its own: python scripts/conformance_over_http.py [PYTEST ARGUMENTS]."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.server import ADMIN_PASSWORD, Server  # noqa: E402 - found below the root of the checkout


def main() -> int:
    """Start a server on a free port, run the suite over HTTP, stop it; the exit code of the suite."""
    strict = ["-p", "tests.support.no_skips"] if os.environ.get("CI") else []
    with tempfile.TemporaryDirectory(prefix="entrepot-conformance-") as folder, serving(folder) as server:
        suite = ["tests/conformance", "--registry", server.url, "--username", "admin", "--password", ADMIN_PASSWORD]
        command = [sys.executable, "-m", "pytest", *strict, *suite, *sys.argv[1:]]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def serving(folder: str) -> Server:
    """A server with its data below a folder."""
    return Server(pathlib.Path(folder) / "data")


if __name__ == "__main__":
    raise SystemExit(main())

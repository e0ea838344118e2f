"""Azurite on a private port, as the Azure Blob Storage of the tests (npm: azurite)."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from typing import Self

import pytest

from tests.support.server import free_port

CLIENTS = pathlib.Path(os.environ.get("ENTREPOT_CLIENTS_DIR", "~/.cache/entrepot-clients")).expanduser()
PROGRAM = CLIENTS / "servers" / "node_modules" / ".bin" / "azurite-blob"
# The account and the key that Azurite is known by, published in its manual.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "blobs"
PUBLIC_HOST = "localhost"
VERSION = "2023-11-03"
START_SECONDS = 60
CONFLICT = 409


class Azurite:
    """A server that is stopped, and its data removed, at the end; its key is in the environment meanwhile."""

    def __init__(self) -> None:
        if not PROGRAM.exists():
            pytest.skip("Azurite is missing: sh tests/clients/install.sh stores")
        self.port = free_port()
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="entrepot-azurite-"))
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self._folder / "data")]
        with (self._folder / "log").open("ab") as log:
            command = [PROGRAM, *options, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
            # Where the machine's Node.js is too old, one lies there.
            path = f"{CLIENTS / 'venv' / 'bin'}:{os.environ['PATH']}"
            self._running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": path})
        self._before = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
        os.environ["AZURE_STORAGE_ACCOUNT_KEY"] = KEY

    def __enter__(self) -> Self:
        limit = time.monotonic() + START_SECONDS
        while not self._has_container():
            if self._running.poll() is not None or time.monotonic() > limit:
                text = (self._folder / "log").read_text()[-3000:]
                self.__exit__()
                raise RuntimeError(f"Azurite did not start:\n{text}")
            time.sleep(0.1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.kill()
        self._running.wait()
        shutil.rmtree(self._folder)
        if self._before is None:
            del os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
        else:
            os.environ["AZURE_STORAGE_ACCOUNT_KEY"] = self._before

    def fresh_url(self, port: int = 0) -> str:
        """A place in the container that holds nothing yet; with a port, by whatever passes its requests on."""
        endpoint = f"http://127.0.0.1:{port or self.port}/{ACCOUNT}"
        return f"azure://{CONTAINER}/{secrets.token_hex(8)}?account={ACCOUNT}&endpoint={endpoint}"

    def public_url(self) -> str:
        """The same for clients that are redirected, by a name that is not the registry's."""
        return f"{self.fresh_url()}&public_endpoint=http://{PUBLIC_HOST}:{self.port}/{ACCOUNT}"

    def _has_container(self) -> bool:
        # Authorized by the account's key: Azure Storage REST API, "Authorize with Shared Key".
        date = email.utils.formatdate(usegmt=True)
        headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
        resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        text = "PUT" + "\n" * 12 + headers + resource
        proof = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
        signature = base64.b64encode(proof).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{ACCOUNT}/{CONTAINER}?restype=container",
            method="PUT",
            headers={
                "x-ms-date": date,
                "x-ms-version": VERSION,
                "authorization": f"SharedKey {ACCOUNT}:{signature}",
            },
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code == CONFLICT
        except OSError:
            return False

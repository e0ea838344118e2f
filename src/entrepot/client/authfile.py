"""The file in which docker and podman keep logins, changed for one registry and otherwise left as it is."""

from __future__ import annotations

import base64
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec

from entrepot.client.errors import ClientError


class AuthFile:
    """`--authfile`, else `REGISTRY_AUTH_FILE`, else docker's `config.json`, which podman and skopeo read as well."""

    def __init__(self, named: pathlib.Path | None, environment: Mapping[str, str]) -> None:
        home = pathlib.Path(environment.get("HOME") or "~").expanduser()
        docker = pathlib.Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
        self.path = named or pathlib.Path(environment.get("REGISTRY_AUTH_FILE") or docker)

    def put(self, host: str, username: str, password: str) -> str:
        """Remember a login; the name of a helper that docker asks instead of this file, "" if there is none.

        Raises ClientError.
        """
        content = self._load()
        auths = content.setdefault("auths", {})
        helpers = content.get("credHelpers") or {}
        if not isinstance(auths, dict) or not isinstance(helpers, dict):
            raise ClientError(f"{self.path} is no file of docker or podman; give another one with --authfile")
        auths[host] = {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}
        self._save(content)
        return str(helpers.get(host) or content.get("credsStore") or "")

    def _load(self) -> dict[str, Any]:
        try:
            return msgspec.json.decode(self.path.read_bytes() or b"{}", type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            raise ClientError(f"cannot read {self.path}; give another file with --authfile") from None

    def _save(self, content: dict[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes its file with mode 0600; a reader sees the old file or the new one.
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".auth-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            os.replace(name, self.path)
        except OSError as error:
            raise ClientError(f"cannot write {self.path}: {error.strerror}") from None

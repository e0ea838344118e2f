"""What the commands that open the registry themselves share."""

from __future__ import annotations

import os
import pathlib
from typing import Annotated

from cyclopts import Parameter

from entrepot.settings import Settings, load

Config = Annotated[pathlib.Path | None, Parameter(help="Settings file (TOML).", env_var="ENTREPOT_CONFIG")]
Data = Annotated[pathlib.Path | None, Parameter(help="Data folder: database and blobs.", env_var="ENTREPOT_DATA")]


def load_settings(
    config: pathlib.Path | None, data: pathlib.Path | None, listen: str | None = None, tls: str | None = None
) -> Settings:
    """The settings that a command works with."""
    environment = {name: value for name, value in os.environ.items() if name != "ENTREPOT_CONFIG"}
    if tls is not None:
        environment["ENTREPOT_TLS__AUTO"] = "true"
    return load(config, data, listen, environment)

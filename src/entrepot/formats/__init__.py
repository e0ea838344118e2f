"""Faces of package clients, one folder each. A folder with a `routes` module that has a `GRAMMAR` is mounted."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from entrepot.wire.face import Grammar


def discover() -> dict[str, Grammar]:
    """The grammar of every format, by the name of its folder."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return {name: import_module(f"{__name__}.{name}.routes").GRAMMAR for name in names}

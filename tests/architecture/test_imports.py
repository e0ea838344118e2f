"""Allowed imports are a test, not an agreement; and the test can fail."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.architecture.source import PACKAGE, ROOT

PLANTED = {
    "domain/planted.py": "import entrepot.core.push\n",
    "core/planted.py": "import entrepot.wire.messages\n",
    "storage/planted.py": "import entrepot.settings\n",
    "wire/planted.py": "import entrepot.db.sqlite\n",
    "core/measured.py": "import entrepot.telemetry.metrics\n",
}


def lint_imports(root: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """The verdict of import-linter on a tree."""
    return subprocess.run(
        [str(pathlib.Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the package and its contracts to plant violations in."""
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(PACKAGE, root / "src" / "entrepot", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_the_tree_keeps_its_contracts(copied: pathlib.Path) -> None:
    """As it is, the package keeps every contract."""
    verdict = lint_imports(copied)
    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize("place", sorted(PLANTED))
def test_a_planted_violation_fails(place: str, copied: pathlib.Path) -> None:
    """One import against the direction of the layers is found."""
    planted = copied / "src" / "entrepot" / place
    planted.write_text(PLANTED[place])
    try:
        verdict = lint_imports(copied)
    finally:
        planted.unlink()
    assert verdict.returncode != 0
    assert planted.stem in verdict.stdout

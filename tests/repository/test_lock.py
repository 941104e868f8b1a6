"""The lock files are what `make lock` makes of pyproject.toml.

Slow, because it needs a package registry.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.imports import ROOT

pytestmark = pytest.mark.slow

LOCKS = ("requirements.lock", "requirements-dev.lock")


def pins(text: str) -> list[str]:
    return re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==\S+", text, re.MULTILINE)


def lock(folder: Path) -> None:
    # The tools of make lock are this environment's.
    command = ["make", "--assume-old=.venv/.dev", "lock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_locks_are_current_with_pyproject(copy: Path) -> None:
    # Versions that are in a lock already stay while they meet pyproject.toml.
    lock(copy)
    for name in LOCKS:
        pinned = pins((ROOT / name).read_text())
        assert len(pinned) > 50
        assert pins((copy / name).read_text()) == pinned


def test_a_dependency_that_is_not_locked_is_noticed(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"filelock",', '"filelock",\n  "toolz",'))
    lock(copy)
    (added,) = set(pins((copy / "requirements.lock").read_text())) - set(
        pins((ROOT / "requirements.lock").read_text())
    )
    assert added.startswith("toolz==")

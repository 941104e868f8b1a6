"""The lock files are what `make lock` makes of pyproject.toml, for all platforms.

Those tests are slow that need a package registry.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.support.imports import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")


def pins(text: str) -> list[str]:
    return re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==\S+", text, re.MULTILINE)


def blocks(name: str) -> dict[str, str]:
    """The lines of each package in a lock, by its name."""
    text = (ROOT / name).read_text()
    return {
        re.split(r"[=\[]", block)[0]: block
        for block in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)
        if block
    }


@pytest.mark.holds("R-100")
@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_is_pinned_with_hashes_and_comes_from_any_index(name):
    for package, block in blocks(name).items():
        assert pins(block) and "--hash=sha256:" in block, package
        assert not re.search(r"file:|https?:|index-url", block), package


def test_a_package_for_one_platform_says_so():
    for package, block in blocks("requirements.lock").items():
        if re.match(r"triton|nvidia-|cuda-", package):
            assert "sys_platform == 'linux'" in block, package
        if package == "pywin32":
            assert "sys_platform == 'win32'" in block


def test_every_direct_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for wanted, name in (
        (project["project"]["dependencies"], "requirements.lock"),
        (project["dependency-groups"]["dev"], "requirements-dev.lock"),
    ):
        names = {re.sub(r"[^\w-].*", "", each.replace(".", "-")) for each in wanted}
        assert names <= set(blocks(name))


def test_torch_without_cuda_leaves_out_torch_and_cuda_and_nothing_else():
    makefile = (ROOT / "Makefile").read_text()
    (cuda,) = re.findall(r"^CUDA := (.*)$", makefile, re.MULTILINE)
    left_out = {
        package for package in blocks("requirements.lock") if re.search(cuda, f"{package}==")
    }
    assert {"torch", "torchvision", "triton"} < left_out
    assert all(re.match(r"torch(vision)?$|triton|nvidia|cuda", package) for package in left_out)
    assert "torch-fidelity" not in left_out


PLATFORMS = {
    "x86_64-manylinux_2_28": ("3.11", "3.12", "3.13"),
    "aarch64-manylinux_2_28": ("3.11", "3.13"),
    "aarch64-apple-darwin": ("3.11", "3.12", "3.13"),
    "x86_64-pc-windows-msvc": ("3.11", "3.13"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("platform", "python"),
    [(platform, python) for platform, pythons in PLATFORMS.items() for python in pythons],
)
def test_every_package_has_a_wheel_for_each_platform(tmp_path, platform, python):
    lines = blocks("requirements.lock")
    lines.pop("antlr4-python3-runtime")  # of DVC: published as source only, in pure Python
    (tmp_path / "lock").write_text("".join(lines.values()))
    done = subprocess.run(
        [
            "uv", "pip", "install", "--dry-run", "--target", str(tmp_path / "target"), "--no-deps",
            "--require-hashes", "--only-binary", ":all:", "--python-platform", platform,
            "--python-version", python, "-r", str(tmp_path / "lock"),
        ],
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "Would install" in done.stderr, done.stderr[-1000:]


def lock(folder: Path) -> None:
    # The tools of make lock are this environment's.
    command = ["make", "--assume-old=.venv/.dev", "BIN=" + sysconfig.get_path("scripts"), "lock"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.holds("R-100")
@pytest.mark.slow
def test_the_locks_are_current_with_pyproject(copy: Path) -> None:
    # Versions that are in a lock already stay while they meet pyproject.toml.
    lock(copy)
    for name in LOCKS:
        pinned = pins((ROOT / name).read_text())
        assert len(pinned) > 50
        assert pins((copy / name).read_text()) == pinned


@pytest.mark.slow
def test_a_dependency_that_is_not_locked_is_noticed(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"filelock",', '"filelock",\n  "toolz",'))
    lock(copy)
    (added,) = set(pins((copy / "requirements.lock").read_text())) - set(
        pins((ROOT / "requirements.lock").read_text())
    )
    assert added.startswith("toolz==")

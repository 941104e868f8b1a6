import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from dcgan.raw import locks
from tests.support.imports import ROOT

HOLD = """
import pathlib, sys, time
from dcgan.raw import locks
with locks.held(pathlib.Path("lock"), 0, "waits"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds `lock`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_message_names_the_process_that_holds_the_lock(tmp_path, holder):
    for _ in range(2):  # a process that asks in vain leaves the number where it is
        with (
            pytest.raises(EnvironmentProblem) as caught,
            locks.held(tmp_path / "lock", 0, "reads the news"),
        ):
            pass
        assert str(caught.value) == (
            f"{tmp_path}/lock: another process ({holder.pid}) reads the news:"
            " wait for it, or end it"
        )


@pytest.mark.holds("R-55")
def test_a_process_that_dies_frees_its_lock_and_the_next_leaves_no_file(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "lock").exists()
    with locks.held(tmp_path / "lock", 0, "waits"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / "lock").exists()


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(ValueError, match="inside"), locks.held(tmp_path / "a/lock", 0, "waits"):
        raise ValueError("inside")
    with locks.held(tmp_path / "a/lock", 0, "waits"):
        pass
    assert list((tmp_path / "a").iterdir()) == []


def test_a_lock_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(EnvironmentProblem, match="cannot be written"),
        locks.held(tmp_path / "file/lock", 0, "waits"),
    ):
        pass

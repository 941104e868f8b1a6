"""One experiment or retraining at a time in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from pipeline import folder_lock


@pytest.mark.holds("R-76")
def test_a_second_one_is_refused_and_told_the_first_ones_number(tmp_path: Path) -> None:
    path = tmp_path / "deep/run.lock"
    lock = folder_lock.hold(path)
    with pytest.raises(EnvironmentProblem, match=rf"^run: .* \(process {os.getpid()}\)"):
        folder_lock.hold(path)
    folder_lock.release(lock)
    assert path.read_bytes() == b""
    os.close(folder_lock.hold(path))


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    lock = folder_lock.hold(path)
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock]) as child:
        os.close(lock)
        with pytest.raises(EnvironmentProblem, match="retrain: an experiment"):
            folder_lock.hold(path, "retrain")
        child.communicate()
    os.close(folder_lock.hold(path))

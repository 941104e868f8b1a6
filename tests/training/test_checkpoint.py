"""The folder of a trajectory: one process at a time, and what is pruned."""

import os
import shutil
import threading
import time

import filelock
import pytest

from dcgan.errors import EnvironmentProblem
from dcgan.training.checkpoint import Checkpoints


def test_a_second_process_in_the_same_folder_is_refused(tmp_path):
    with (
        Checkpoints(tmp_path, "t"),
        pytest.raises(EnvironmentProblem, match=f"in use by process {os.getpid()}"),
        Checkpoints(tmp_path, "t"),
    ):
        pass


def make(root, names):
    """A folder a name, the first one used least recently."""
    for i, name in enumerate(names):
        with Checkpoints(root, name) as checkpoints:
            (checkpoints.folder / "samples").mkdir()
            (checkpoints.folder / "samples" / "file").write_text("")
        os.utime(root / name, (i, i))


def test_pruning_keeps_the_newest_folders_and_those_in_use_and_deletes_the_locks_of_others(
    tmp_path,
):
    make(tmp_path, "abcde")
    with Checkpoints(tmp_path, "a"), Checkpoints(tmp_path, "e") as checkpoints:
        os.utime(tmp_path / "a", (0, 0))
        checkpoints.prune_others(keep=3)
    # a is old but in use, e is the caller's own, c and d are the newest of the others.
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(f"{name}{end}" for name in "acde" for end in ("", ".lock"))


def test_a_lock_that_lost_its_folder_goes(tmp_path):
    (tmp_path / "gone.lock").write_text("")
    with Checkpoints(tmp_path, "t") as checkpoints:
        checkpoints.prune_others()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t", "t.lock"]


def test_a_process_that_waits_while_its_folder_is_pruned_gets_a_lock_that_others_see(
    tmp_path, monkeypatch
):
    make(tmp_path, "ab")
    waiting = filelock.FileLock(tmp_path / "a.lock", timeout=10, thread_local=False)
    thread = threading.Thread(target=waiting.acquire)

    def slow(folder):
        thread.start()
        time.sleep(0.3)  # it has opened the file that is about to go
        rmtree(folder)

    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", slow)
    with Checkpoints(tmp_path, "b") as checkpoints:
        checkpoints.prune_others(keep=1)
    thread.join()
    with pytest.raises(EnvironmentProblem, match="another process"), Checkpoints(tmp_path, "a"):
        pass
    waiting.release()

"""The folder of a trajectory: one process at a time, and what is pruned."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest
import torch

from dcgan import files
from dcgan.errors import EnvironmentProblem, NoCheckpoint
from dcgan.training.checkpoint import Checkpoints
from tests.support.imports import ROOT


@pytest.mark.holds("R-75")
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


def saved(root, *, name="t", step=1):
    """A folder with one checkpoint."""
    with Checkpoints(root, name) as checkpoints:
        checkpoints.save(step, {"weight": torch.full((3,), float(step))}, {"history": [1.5]})
    return root / name / f"state-{step:09d}.json"


def test_what_is_saved_is_what_the_tensors_were_at_the_call(tmp_path):
    weight = torch.ones(1_000_000)
    with Checkpoints(tmp_path, "t") as checkpoints:
        checkpoints.save(1, {"weight": weight}, {})
        weight.fill_(2.0)  # the next step, while the file is being written
        checkpoints.wait()
        tensors, description = checkpoints.load_newest()
    assert tensors["weight"].unique().tolist() == [1.0]
    assert (description["step"], description["trajectory"]) == (1, "t")


@pytest.mark.holds("R-90")
def test_a_checkpoint_that_could_not_be_written_is_an_error_of_the_training(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise EnvironmentProblem("no space left on the disk")

    monkeypatch.setattr(files, "write_tensors", full)
    with (
        pytest.raises(EnvironmentProblem, match="no space left"),
        Checkpoints(tmp_path, "t") as checkpoints,
    ):
        checkpoints.save(1, {}, {})
    with Checkpoints(tmp_path, "t"):  # the lock is free again
        pass


@pytest.mark.holds("R-13")
def test_every_flipped_bit_of_a_checkpoints_description_is_noticed(tmp_path):
    description = saved(tmp_path)
    good = description.read_bytes()
    with Checkpoints(tmp_path, "t") as checkpoints:
        for position, byte in enumerate(good):
            for bit in range(8):
                flipped = bytes([byte ^ 1 << bit])
                if byte in b" \n" and flipped in b" \n\t\r":
                    continue  # means the same
                description.write_bytes(good[:position] + flipped + good[position + 1 :])
                with pytest.raises(NoCheckpoint):
                    checkpoints.load_newest()
        description.write_bytes(good)
        assert checkpoints.load_newest()


@pytest.mark.holds("R-08", "R-14")
def test_a_checkpoint_of_another_training_is_not_continued(tmp_path, caplog):
    foreign = saved(tmp_path, name="other", step=9)
    saved(tmp_path, step=1)
    for path in (foreign, foreign.with_suffix(".safetensors")):
        shutil.copy(path, tmp_path / "t" / path.name)
    with Checkpoints(tmp_path, "t") as checkpoints:
        _, description = checkpoints.load_newest()
    assert description["step"] == 1
    assert "is of another training (other)" in caplog.text


@pytest.mark.holds("R-12")
def test_a_checkpoint_from_before_there_were_seals_is_not_continued(tmp_path):
    description = saved(tmp_path)
    held = files.read_json(description)
    del held["seal"]
    files.write_json(description, held)
    with Checkpoints(tmp_path, "t") as checkpoints, pytest.raises(NoCheckpoint):
        checkpoints.load_newest()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="Linux counts threads there")
def test_the_background_computes_nothing_with_torch(tmp_path):
    """It would get OpenMP threads of its own, which slow down every later step."""
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT / "src")!r}]
from pathlib import Path
import torch
from dcgan.training.checkpoint import Checkpoints
torch.set_num_threads(2)
maps = torch.ones(256, 64, 16, 16).contiguous(memory_format=torch.channels_last)
maps.contiguous()  # our own OpenMP thread
with Checkpoints(Path(sys.argv[1]), "t") as checkpoints:
    before = len(os.listdir("/proc/self/task"))
    checkpoints.save(1, {{"maps": maps}}, {{}})
    checkpoints.wait()
    print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"  # the writer

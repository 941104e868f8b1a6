"""The train stage in two processes, through DVC, killed and stopped."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.params import small
from tests.support.repository import Repository

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TWO = {"training.processes": 2, "epochs": 3, "dataset.validation_size": 40}


def train(repo: Repository) -> subprocess.Popen:
    return subprocess.Popen(
        ["python", "-m", "pipeline.train"], cwd=repo.folder, env=repo.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def workers(launcher: int) -> list[int]:
    """The launcher's children, once both are there and one of them has saved something."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(pid) for pid in children.read_text().split()]


def wait_for_checkpoint(repo: Repository, step: int) -> None:
    deadline = time.monotonic() + 120
    while not any(
        int(path.stem.split("-")[1]) >= step
        for path in repo.folder.glob(".scratch/train/*/state-*.json")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exports(repo: Repository) -> dict[str, bytes]:
    folder = repo.folder / "models/checkpoints"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.holds("R-27", "R-28")
def test_two_processes_killed_and_stopped_end_with_the_same_bits(idx_source, tmp_path):
    whole = Repository(tmp_path / "whole", idx_source, **small(**TWO))
    whole.run("dvc", "repro", "train")
    again = Repository(tmp_path / "again", idx_source, **small(**TWO))
    again.run("dvc", "repro", "validate")

    killed = train(again)
    wait_for_checkpoint(again, 2)
    os.kill(workers(killed.pid)[1], signal.SIGKILL)
    said, _ = killed.communicate(timeout=60)
    assert killed.returncode == 6 and "ended by SIGKILL" in said, said
    assert "Traceback" not in said

    stopped = train(again)
    wait_for_checkpoint(again, 5)
    stopped.send_signal(signal.SIGTERM)
    said, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 143, said

    again.run("dvc", "repro", "train")
    assert exports(again) == exports(whole)
    assert again.read("results/train/history.csv") == whole.read("results/train/history.csv")

    # Without the launcher: as over several machines.
    alone = Repository(tmp_path / "torchrun", idx_source, **small(**TWO))
    alone.run("dvc", "repro", "validate")
    alone.run("torchrun", "--standalone", "--nproc-per-node=2", "-m", "pipeline.train")
    assert exports(alone) == exports(whole)

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dcgan.errors import ConfigError
from pipeline import launcher
from tests.support.imports import ROOT
from tests.support.params import parsed

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LAUNCH = """
from pipeline import cli, launcher
def main(): launcher.launch("tests.support.launched", 2)
cli.run(main, args=[])
"""


@contextlib.contextmanager
def launched(how: str, folder: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "HOW": how, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def workers(folder: Path) -> list[int]:
    """Process numbers of both, once both are there."""
    files = [folder / "pid-0", folder / "pid-1"]
    deadline = time.monotonic() + 60
    while not all(file.is_file() and file.read_text() for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(file.read_text()) for file in files]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_processes_agree_and_end_well(tmp_path):
    with launched("agree", tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sorted(out.splitlines()) == [
        "agreed on 1",
        "agreed on 1",
        "tests.support.launched: 2 processes",
    ]


@pytest.mark.holds("R-32")
def test_the_first_ones_failure_is_said_once_and_is_the_exit_code(tmp_path):
    with launched("fails", tmp_path) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert [line for line in err.splitlines() if line.startswith("error")] == [
        "error: train.images.npy: damaged"
    ]
    assert "Traceback" not in err


@pytest.mark.holds("R-28")
def test_a_killed_process_ends_all_with_one_line_and_exit_code_6(tmp_path):
    with launched("one is killed", tmp_path) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "a process of the training was ended by SIGKILL" in err
    assert "Traceback" not in err
    wait_until_gone(workers(tmp_path))


@pytest.mark.holds("R-27")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_to_the_launcher_and_to_the_workers_lets_them_save_and_is_the_exit_code(
    number, tmp_path
):
    """As a scheduler sends it: to every process, beside what the launcher passes on."""
    with launched("waits", tmp_path) as process:
        for pid in [*workers(tmp_path), process.pid]:
            os.kill(pid, number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert (tmp_path / "saved-0").is_file() and (tmp_path / "saved-1").is_file()


@pytest.mark.holds("R-29")
def test_a_signal_to_one_worker_ends_all_with_its_exit_code(tmp_path):
    with launched("waits", tmp_path) as process:
        os.kill(workers(tmp_path)[1], signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert (tmp_path / "saved-0").is_file() and (tmp_path / "saved-1").is_file()


@pytest.mark.holds("R-24")
def test_workers_do_not_outlive_a_launcher_that_is_killed(tmp_path):
    with launched("waits", tmp_path) as process:
        pids = workers(tmp_path)
        process.kill()
        wait_until_gone(pids)


def test_how_many_processes(monkeypatch):
    def count(processes, device, **changes):
        training = parsed(**{"training.processes": processes, **changes}).training
        return launcher.count(training, device, 64)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 6)
    assert count("auto", CPU) == 1
    assert count(4, CPU) == 4
    assert count("auto", GPU) == 4  # the most that divide the batch
    with pytest.raises(ConfigError, match=r"batch_size = 64: .* a multiple of 3"):
        count(3, CPU)
    with pytest.raises(ConfigError, match=r"training.processes = 8: this machine has 6 GPUs"):
        count(8, GPU)
    with pytest.raises(ConfigError, match="several processes on 'mps'"):
        count(2, torch.device("mps"))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert count("auto", CPU) == 2
    with pytest.raises(ConfigError, match="cuda_graphs = true: is for one process, not 2"):
        count(1, GPU, **{"training.cuda_graphs": True})

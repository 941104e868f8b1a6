"""Trainings that are killed at random, run in odd surroundings, or run long."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from dcgan import data
from dcgan.training import loop, step
from dcgan.training.checkpoint import Checkpoints
from tests.support.small_training import small, training_arguments
from tests.support.steps import CPU, build, fingerprint

GOLDEN = Path(__file__).parent / "golden.json"
TRAIN = """
import sys
sys.path[:0] = ["src", "."]
import numpy as np
import tests.training.test_reliability as t
t.torch.set_num_threads(1)
print("begun", flush=True)
print(t.digest(t.trained(t.Path(sys.argv[1]))), flush=True)
"""


def trained(folder, **changes):
    """The state of a training of seconds."""
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    params = small(**{"epochs": 8, **changes})
    with Checkpoints(folder, "t") as checkpoints:
        return loop.train(
            images, checkpoints, **training_arguments(params), device=CPU, precision="float32"
        )


def digest(state) -> str:
    held = hashlib.sha256()
    for name, tensor in sorted(fingerprint(state).items()):
        held.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return held.hexdigest()


def start(folder: Path, **environment: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, folder], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.holds("R-02")
@pytest.mark.parametrize(
    "kills", [pytest.param(3), pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_kills_at_random_moments_change_no_bit(kills, tmp_path):
    process = start(tmp_path / "a")
    began = time.monotonic()
    whole = process.communicate()[0]
    seconds = time.monotonic() - began
    done = 0
    while True:
        process = start(tmp_path / "b")
        if done < kills:
            time.sleep(random.uniform(0, seconds / 3))
            process.kill()
        out = process.communicate()[0]
        if out and done >= kills:
            break
        done += 1
    assert out == whole
    left = [path.name for path in (tmp_path / "b" / "t").rglob(".part-*")]
    assert not left


@pytest.mark.holds("R-26")
def test_a_training_that_was_halted_goes_on_to_the_same_bits(tmp_path):
    whole = start(tmp_path / "a").communicate()[0]
    process = start(tmp_path / "b")
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    assert process.communicate()[0] == whole
    assert process.returncode == 0


FULL = """
mount -t tmpfs -o size=$2 tmpfs "$1" || exit 99
"$3" -c "$4" "$1/t"
mount -o remount,size=64m "$1"
"$3" -c "$4" "$1/t"
"""


@pytest.mark.holds("R-90")
@pytest.mark.skipif(not shutil.which("unshare"), reason="a disk of a known size wants Linux")
@pytest.mark.parametrize("size", ["60k", "200k"])
def test_a_disk_that_is_full_ends_a_training_which_goes_on_where_there_is_room(size, tmp_path):
    """On a disk of our own: no room for the first checkpoint, or none in the midst of training."""
    whole = start(tmp_path / "a").communicate()[0]
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL, "sh", disk, size, sys.executable, TRAIN],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode in (1, 99) and "ermitted" in done.stderr:
        pytest.skip("this machine gives nobody a disk of one's own")
    assert done.stderr.count("EnvironmentProblem") == 1
    assert "no space left on the disk" in done.stderr
    assert done.stdout == f"begun\nbegun\n{whole}"


@pytest.mark.holds("R-97")
def test_time_zone_language_and_hash_seed_change_no_bit(tmp_path):
    found = {
        start(tmp_path / str(i), **environment).communicate()[0]
        for i, environment in enumerate(
            ({}, {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "1"})
        )
    }
    assert len(found) == 1


def losses(folder: Path) -> list[list[float]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = trained(folder, epochs=2).history
    finally:
        torch.set_num_threads(threads)
    return [[row["loss_d"], row["loss_g"]] for row in rows]


@pytest.mark.holds("R-10")
def test_losses_are_those_that_were_written_down(tmp_path):
    """To the last bit on the machine that wrote them; elsewhere sums are in another order.

    To write them anew: PYTHONPATH=src python -m tests.training.test_reliability
    """
    held = json.loads(GOLDEN.read_text())
    found = losses(tmp_path)
    if held["made_on"] == here():
        assert found == held["losses"]
    torch.testing.assert_close(
        torch.tensor(found), torch.tensor(held["losses"]), rtol=1e-3, atol=1e-3
    )


def here() -> list[str]:
    """What decides the bits."""
    return [torch.__version__, torch.backends.cpu.get_cpu_capability(), processor()]


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return " ".join(
        next((line.partition(": ")[2] for line in lines if line.startswith(key)), "")
        for key in ("vendor_id", "cpu family", "model\t")
    )


@pytest.mark.holds("R-42")
def test_healthy_trainings_raise_no_alarm(images):
    for seed in range(10):
        params = small(seed=seed)
        state = build(params)
        for i in range(200):
            rows = data.to_float(images[i % 4 * 8 : i % 4 * 8 + 8])
            step.train_step(
                state, rows, seed=seed, training=params.training, precision="float32",
                measure=i % 50 == 0,
            ).read()  # fmt: skip


@pytest.mark.holds("R-94")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_long_training_takes_no_more_memory_files_or_threads(tmp_path):
    process = psutil.Process()

    def held() -> tuple[float, int, int]:
        return process.memory_info().rss / 2**20, process.num_fds(), threading.active_count()

    # The rows of the history are kept, so few are made.
    rare = {"training__log_every": 1_000_000, "training__save_seconds": 1000.0}
    trained(tmp_path, epochs=200, **rare)  # 1,000 steps
    before = held()
    trained(tmp_path, epochs=1200, **rare)
    after = held()
    assert after[0] - before[0] < 5  # MiB for 5,000 steps more
    assert after[1:] == before[1:]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = {"made_on": here(), "losses": losses(Path(folder))}
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")

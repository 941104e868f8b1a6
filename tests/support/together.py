"""A function of a test in several processes that talk to each other over gloo."""

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dcgan.training.ranks import Ranks

WORKER = """
import sys
sys.path[:0] = ["src", "."]
from tests.support import together
together.work(*sys.argv[1:])
"""


def run(function: str, folder: Path, *arguments: str, num: int = 2) -> list[dict]:
    """What `module:function` returns in each process, called with its `Ranks` and the arguments."""
    # They find each other by a file: a port that is free now may be another test's in a moment.
    meeting = f"file://{tempfile.mkdtemp(dir=folder)}/meeting"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, function, str(folder / f"rank{rank}"), *arguments],
            env={
                **os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": str(num),
                "MEETING": meeting,
            },
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(num)
    ]  # fmt: skip
    said = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * num, "\n".join(said)
    return [load_file(folder / f"rank{rank}") for rank in range(num)]


def work(function: str, result: str, *arguments: str) -> None:
    """One of the processes."""
    module, name = function.split(":")
    torch.set_num_threads(1)
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    torch.distributed.init_process_group(
        "gloo", init_method=os.environ["MEETING"], rank=ranks.rank, world_size=ranks.count
    )
    found = getattr(importlib.import_module(module), name)(ranks, *arguments)
    save_file({key: value.clone().contiguous() for key, value in found.items()}, result)
    torch.distributed.destroy_process_group()

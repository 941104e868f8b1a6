"""A function of a test in several processes that talk to each other over gloo."""

import importlib
import os
import socket
import subprocess
import sys
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, function, str(folder / f"rank{rank}"), *arguments],
            env={
                **os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": str(num),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
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
    torch.distributed.init_process_group("gloo")
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    found = getattr(importlib.import_module(module), name)(ranks, *arguments)
    save_file({key: value.clone().contiguous() for key, value in found.items()}, result)
    torch.distributed.destroy_process_group()

"""Processes that help this one with independent pieces of work, and end when it does."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Literal

from dcgan.errors import EnvironmentProblem
from pipeline import processes

if TYPE_CHECKING:
    import torch


def count(asked: int | Literal["auto"], device: "torch.device", pieces: int) -> int:
    """How many processes share some pieces of work that need a network.

    Args:
        asked: `training.processes`; auto: one a GPU, and one on a CPU.
        device: that of the network.
        pieces: of work; more processes would have nothing to do.
    """
    import torch

    if device.type == "cuda":
        gpus = torch.cuda.device_count()
        asked = gpus if asked == "auto" else min(asked, gpus)
    return max(1, min(1 if asked == "auto" else asked, pieces))


@contextlib.contextmanager
def opened(
    num: int, setup: Callable[[int], None], threads: int | None = None
) -> Iterator[Executor]:
    """Processes that take pieces of work; when the body raises they are killed in the midst of it.

    They are spawned, because a fork would share positions in open files and locks of threads.

    Args:
        num: of processes.
        setup: called in each of them, before its first piece, with its number from 0.
        threads: of each process, unless OMP_NUM_THREADS is set; None: as many as it would take.

    Raises:
        EnvironmentProblem: the system ended one of them.
    """
    spawn = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    with _environment({} if threads is None else {"OMP_NUM_THREADS": str(threads)}):
        pool = ProcessPoolExecutor(num, spawn, _start, (setup, spawn.Value("i", 0)))
        try:
            yield pool
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                "a process that helped was ended by the system: if it lacked memory, end other"
                " programs; run the same command again, and it goes on"
            ) from error
        except BaseException:
            # Else the pool would first do all that waits. Files are written in one visible step.
            for process in set(multiprocessing.active_children()) - before:
                process.kill()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            pool.shutdown()


@contextlib.contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    """Variables for processes that are started in the body, where they are not set already."""
    new = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _start(setup: Callable[[int], None], started: Any) -> None:
    """Let a process help; signals of a terminal or of a scheduler are for the one it helps."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    processes.die_with_parent()
    with started.get_lock():
        number = started.value
        started.value += 1
    setup(number)

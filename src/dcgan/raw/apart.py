"""Files of one's own that a library in C parses, read in another process first.

A damaged or forged file can break the process that parses it, where no exception is raised. The
process here is one that may break. What it has read without harm, ours reads the same way.
"""

import contextlib
import multiprocessing
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dcgan.errors import DataError, EnvironmentProblem

CPU_SECONDS = 2 * 3600


def try_reading(read: Callable[[Path], None], path: Path, most_bytes: int) -> None:
    """Call `read` with `path` in another process.

    Args:
        read: a function of a module; what it raises is raised here.
        path: the file.
        most_bytes: of address space that it may take beyond what an empty process has.

    Raises:
        DataError: it broke the process, or needed more memory or time than it may.
        EnvironmentProblem: no other process can be started.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _limit, (most_bytes, read)) as pool:
        try:
            pool.submit(len, ()).result()
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                f"{path}: no other process can be started to try it: end other programs, or see the"
                " lines above"
            ) from error
        try:
            pool.submit(read, path).result()
        except BrokenProcessPool as error:
            raise DataError(
                f"{path}: reading it broke the process that tried: it is damaged or forged:"
                " get it again"
            ) from error
        except MemoryError as error:
            raise DataError(
                f"{path}: reading it takes more than {most_bytes} bytes of memory: it is damaged or"
                " forged: get it again"
            ) from error


def _limit(most_bytes: int, _read: Callable[[Path], None]) -> None:
    """Limit this process, once it has imported what it reads with.

    A terminal's Ctrl-C is for the parent, whose end is its end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):  # outside Linux there is no such file
        with open("/proc/self/statm") as file:
            has = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has + most_bytes, has + most_bytes))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

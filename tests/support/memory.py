"""The memory that a piece of work takes, measured where nothing else runs.

In a process of its own: threads that earlier tests have left would be measured too.
"""

import multiprocessing
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def peak(work: Callable[..., Any], *args: Any) -> int:
    """The most bytes that `work`, a function of a module, has at once while it is called."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_traced, work, args).result()


def _traced(work: Callable[..., Any], args: tuple[Any, ...]) -> int:
    tracemalloc.start()
    work(*args)
    return tracemalloc.get_traced_memory()[1]

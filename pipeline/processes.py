"""A program in a process group of its own, which ends with all its children when we are asked to.

A program that dvc, git or MLflow starts is a child of that program and not of ours: a signal to one
process would leave the others running.
"""

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

# Signals to send one after the other until the group is gone, each with the seconds to wait for it.
Steps = Sequence[tuple[signal.Signals, float]]

POLL_SECONDS = 0.05
# Schedulers signal every process of a job, and launchers pass on a signal of their own. One
# that comes so soon after the last is the same request: a person needs longer to lose patience.
SAME_REQUEST = 2.0
PR_SET_PDEATHSIG = 1  # as sys/prctl.h has it


class Requests:
    """The signals that ask this process for its end, in order, without repeats."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        self._latest = -math.inf  # when the last of them came

    def note(self, number: int) -> bool:
        """Note a signal; False if it comes within SAME_REQUEST of the last one that was noted."""
        now = time.monotonic()
        if now - self._latest <= SAME_REQUEST:
            return False
        self._latest = now
        self.noted.append(number)
        return True


@contextlib.contextmanager
def noting(*numbers: signal.Signals) -> Iterator[list[int]]:
    """Signals do not end this process in the body; they are noted in the list, see `Requests`."""
    requests = Requests()

    def note(number: int, _frame: object) -> None:
        requests.note(number)

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield requests.noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Let this process get a signal when the one that started it ends, however it ends; on Linux.

    Args:
        how: SIGKILL, or one that it can answer.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(PR_SET_PDEATHSIG, how)


class Group:
    """A running program and its children; at the end of a `with` the whole group is ended."""

    def __init__(self, command: Sequence[str], steps: Steps, **options: Any) -> None:
        """Start the program.

        Args:
            command: the program and its arguments.
            steps: how it is ended.
            options: of `subprocess.Popen`.

        Raises:
            OSError: it cannot be started.
        """
        self.process = subprocess.Popen(command, start_new_session=True, **options)
        self._steps = steps

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait(self, noted: Sequence[int]) -> None:
        """Wait until the program ends or a signal is noted."""
        while self.process.poll() is None and not noted:
            time.sleep(POLL_SECONDS)

    def end(self, noted: Sequence[int] = ()) -> None:
        """End whatever is left of the group.

        Args:
            noted: the list of `noting`; each further signal that comes takes the next step at once.
        """
        for number, patience in self._steps:
            signals, deadline = len(noted), time.monotonic() + patience
            with contextlib.suppress(ProcessLookupError):  # the group is gone
                os.killpg(self.process.pid, number)
                # After SIGKILL the group is gone in a moment, so further signals change nothing.
                while time.monotonic() < deadline and (
                    len(noted) == signals or number == signal.SIGKILL
                ):
                    self.process.poll()  # or else it would stay in the group as a zombie
                    os.killpg(self.process.pid, 0)
                    time.sleep(POLL_SECONDS)
        self.process.wait()

"""One experiment or retraining at a time in a folder."""

import fcntl
import os
import time
from pathlib import Path

from dcgan.errors import EnvironmentProblem
from pipeline import workspace

LOCK = Path(".scratch/run.lock")


def hold(path: Path = LOCK, who: str = "run") -> int:
    """Lock the folder's experiments and retrainings, before DVC touches anything.

    What killed processes have left half-written goes, since nobody else works here then.

    Not by filelock, because the lock must outlive this process: dvc inherits the open file, so if
    this process is killed, the lock stays until dvc ends as well.

    Args:
        path: the file to lock.
        who: the command that asks for it, for the message.

    Returns:
        An open file that holds the lock.

    Raises:
        EnvironmentProblem: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EnvironmentProblem(
            f"{who}: an experiment or a retraining runs in this folder already (process"
            f" {_holder(handle)}): wait for it, or end it; to run several, queue them when none"
            " runs: python -m pipeline run --queue -S lr=1e-4,2e-4; dvc queue start -j 2"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    workspace.delete_left_over()
    return handle


def release(handle: int) -> None:
    """Release the lock, emptied first, so that no message names this process as the next holder."""
    os.ftruncate(handle, 0)
    os.close(handle)


def _holder(handle: int) -> str:
    """The process number in a held lock, which its holder writes a moment after it has the lock."""
    for _ in range(20):
        text = os.pread(handle, 20, 0).decode()
        if text:
            return text
        time.sleep(0.05)
    return "unknown"

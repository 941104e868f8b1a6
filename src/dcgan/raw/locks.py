"""The one way in which a stage keeps other processes out of a folder that it fills."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dcgan.errors import EnvironmentProblem


@contextlib.contextmanager
def held(path: Path, seconds: float, does: str) -> Iterator[None]:
    """Hold the lock file `path` and remove it at the end; a process that dies frees its lock.

    Args:
        path: the lock file; the number of the process that holds it stands in it.
        seconds: how long to wait for another process; 0: not at all.
        does: what a process that holds this lock does, for the message.

    Raises:
        EnvironmentProblem: another process still holds the lock, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=seconds)
        lock.acquire()
    except Timeout as error:
        raise EnvironmentProblem(
            f"{path}: another process{_holder(path)} {does}: wait for it, or end it"
        ) from error
    except OSError as error:
        raise EnvironmentProblem(
            f"{path}: cannot be written ({error.strerror}): check the folder and its rights"
        ) from error
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock holds without the number
            path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        # While we hold it: a process that waits for this file sees that it is gone (filelock looks)
        # and makes a new one.
        path.unlink(missing_ok=True)
        lock.release()


def delete_others(folder: Path) -> None:
    """Delete the folders beside this one that share its name's first word and that nobody holds.

    They are what other data or other parameters have left: "prepare-1a2b", whose lock is
    "prepare-1a2b.lock".
    """
    for other in folder.parent.glob(f"{folder.name.partition('-')[0]}-*"):
        if other != folder and other.is_dir():
            lock = other.with_name(f"{other.name}.lock")
            with contextlib.suppress(EnvironmentProblem), held(lock, 0, "uses it"):
                shutil.rmtree(other)


def _holder(path: Path) -> str:
    """The number of the process that holds a lock, in brackets, or an empty text if none does."""
    try:
        number = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({number})" if number.isdecimal() else ""

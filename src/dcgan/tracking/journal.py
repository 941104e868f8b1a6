"""What a run logs, on the local disk first: JSON lines that are only added to, and copies of files.

    <root>/<run>/lock                          held by the process that sends this run
    <root>/<run>/sender                        names the process that sent it last
    <root>/<run>/<session>/entries.jsonl       locked by its writer for as long as that lives
    <root>/<run>/<session>/sent                how many of its bytes are sent
    <root>/<run>/<session>/files/<n>/<name>    copies, because a source may change or go first

Every lock is one of the kernel's on an open file, so that it ends with its process, however that
ends. Nothing here knows MLflow.
"""

import contextlib
import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dcgan.redaction import clean
from dcgan.tracking.names import FILE, safe

Entry = dict[str, Any]


class Writer:
    """One session of a run: the only one that appends to its file while this process lives."""

    def __init__(self, root: Path, run: str) -> None:
        self.folder, self._handle = _create(root / safe(run, FILE).replace("/", "_"))
        self._copies = 0
        self._at = 0
        self._guard = threading.Lock()

    def append(self, op: str, **arguments: Any) -> None:
        """Note an operation with plain JSON arguments, redacted, and its time `at`, ms since 1970.

        Raises:
            OSError: the entry cannot be written, for example because the disk is full.
        """
        with self._guard:
            # Never the same twice, so that the time alone gives the order.
            self._at = max(time.time_ns() // 1_000_000, self._at + 1)
            _append(self._handle, {"op": op, "at": self._at, **clean(arguments)})

    def room(self, name: str) -> tuple[Path, str]:
        """A path to copy a file to, and its name in an entry."""
        with self._guard:
            self._copies += 1
            place = f"files/{self._copies}/{safe(clean(name), FILE).replace('/', '_')}"
        path = self.folder / place
        path.parent.mkdir(parents=True)
        return path, place

    def close(self) -> None:
        """Release the session: from now on it counts as ended."""
        os.close(self._handle)


@dataclass(frozen=True)
class Session:
    """One session's folder, to be sent; all but `alive` and `waiting` need the run's lock."""

    folder: Path

    @property
    def _entries(self) -> Path:
        return self.folder / "entries.jsonl"

    def alive(self) -> bool:
        """Whether the process that writes it is still running."""
        with open(self._entries, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def first(self) -> Entry | None:
        """The entry that opened the run."""
        return next((entry for entry, _ in self._read(0)), None)

    def unsent(self) -> Iterator[tuple[Entry, int]]:
        """What waits, in order, each entry with the number of bytes to mark as sent once it is."""
        return self._read(self._sent())

    def waiting(self) -> int:
        """How many entries wait; 0 where another process has just sent and deleted them."""
        try:
            return sum(1 for _ in self.unsent())
        except FileNotFoundError:
            return 0

    def mark(self, sent: int) -> None:
        """Note that the first `sent` bytes are sent.

        A mark that a full disk loses does no harm: every entry may be sent again.
        """
        part = self.folder / ".sent"
        with contextlib.suppress(OSError):
            part.write_text(str(sent))
            os.replace(part, self.folder / "sent")

    def drop(self, place: str) -> None:
        """Delete the copy of a file that is sent."""
        shutil.rmtree((self.folder / place).parent, ignore_errors=True)

    def close_if_killed(self) -> None:
        """Write the end that a killed process could not write."""
        if not self.alive() and not self.ended():
            at = int(self._entries.stat().st_mtime * 1000)
            handle = os.open(self._entries, os.O_WRONLY | os.O_APPEND)
            try:
                _append(handle, {"op": "close", "at": at, "status": "KILLED"})
            finally:
                os.close(handle)

    def ended(self) -> bool:
        """Whether its last entry is the end."""
        ops = [entry["op"] for entry, _ in self._read(0)]
        return ops[-1:] == ["close"]

    def delete(self) -> None:
        """Delete it; the mark goes last, so that after a kill in between nothing is sent twice."""
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        self._entries.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sent(self) -> int:
        try:
            return int((self.folder / "sent").read_text())
        except (OSError, ValueError):
            return 0  # every entry may be sent again

    def _read(self, offset: int) -> Iterator[tuple[Entry, int]]:
        with open(self._entries, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # its writer has not finished it, or was killed
                offset += len(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # empty, or cut short by a kill and ended by the next entry
                if isinstance(entry, dict) and isinstance(entry.get("op"), str):
                    yield entry, offset


def merged(unsent: Iterable[tuple[Entry, int]], size: int) -> Iterator[tuple[Entry, int]]:
    """The entries; points that follow each other become one entry, because a call takes many.

    Args:
        unsent: from `Session.unsent`.
        size: an entry with at least this number of points takes no more.

    Yields:
        Each entry with the number of bytes to mark as sent. A point is key, step, value, time and
        whether it replaces another value.
    """
    points: list[tuple[Any, ...]] = []
    last = 0
    for entry, sent in unsent:
        if points and (entry["op"] != "points" or len(points) >= size):
            yield {"op": "points", "points": points}, last
            points = []
        if entry["op"] == "points":
            points += [(*point, entry["at"], entry["replace"]) for point in entry["points"]]
            last = sent
        else:
            yield entry, sent
    if points:
        yield {"op": "points", "points": points}, last


def runs(root: Path) -> list[Path]:
    """The folders of all runs that may have entries to send."""
    return sorted({path.parent.parent for path in root.glob("*/*/entries.jsonl")})


def sessions(run: Path) -> list[Session]:
    """A run's sessions, oldest first."""
    return [Session(path.parent) for path in sorted(run.glob("*/entries.jsonl"))]


def tidy(run: Path) -> None:
    """Delete a run's folder if it has no session left, and what a killed `Session.delete` has left.

    The caller holds the run's lock.
    """
    for folder in run.iterdir():
        if folder.is_dir() and not any(
            (folder / name).exists() for name in ("entries.jsonl", ".entries.jsonl")
        ):
            shutil.rmtree(folder, ignore_errors=True)
    if {path.name for path in run.iterdir()} <= {"lock", "sender"}:
        (run / "sender").unlink(missing_ok=True)
        (run / "lock").unlink()
        with contextlib.suppress(OSError):  # a new session has just begun
            run.rmdir()


@contextlib.contextmanager
def lock(run: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a run's folder; yields False if another process has it and `wait` is false.

    If `tidy` has deleted the file or the folder meanwhile, filelock makes both again: the caller
    then finds no session, and deletes them.
    """
    held = FileLock(run / "lock", timeout=-1 if wait else 0)
    try:
        held.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def was_last_sender(run: Path, token: str) -> bool:
    """Whether this token was the last to be noted as the run's sender; it is noted now.

    The caller holds the run's lock.
    """
    path = run / "sender"
    with contextlib.suppress(OSError):
        if path.read_text() == token:
            return True
    with contextlib.suppress(OSError):  # a full disk: the answer is False the next time as well
        path.write_text(token)
    return False


def _create(run: Path) -> tuple[Path, int]:
    """A new session and the locked handle of its file."""
    for tries_left in reversed(range(10)):
        folder = run / f"{time.time_ns():020d}-{os.getpid()}"
        hidden = folder / ".entries.jsonl"
        try:
            folder.mkdir(parents=True)
            handle = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
            # Locked before others can see it: without a lock it would count as a killed one's.
            fcntl.flock(handle, fcntl.LOCK_EX)
            hidden.rename(folder / "entries.jsonl")
        except (FileNotFoundError, FileExistsError):
            if tries_left:
                continue  # `tidy` deleted the folder, or another thread took the name
            raise
        return folder, handle
    raise AssertionError


def _append(handle: int, entry: Entry) -> None:
    # The first newline ends a line that a kill or a full disk has cut short.
    content = f"\n{json.dumps(entry, allow_nan=False)}\n".encode()
    while content:
        content = content[os.write(handle, content) :]

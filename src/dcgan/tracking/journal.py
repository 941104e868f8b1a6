"""What a run has to say, on the local disk first: JSON lines that only grow, and copies of the files that they name.

    <root>/<run>/lock                          held by whoever sends this run
    <root>/<run>/<session>/entries.jsonl       locked by its writer for as long as that lives
    <root>/<run>/<session>/sent                how many of its bytes are sent
    <root>/<run>/<session>/files/<n>/<name>    copies, because a source may be overwritten or
    deleted before it is sent

Every lock is one of the kernel's on an open file: a process that is killed lets go of it. Nothing
here knows MLflow.
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

from dcgan.tracking.provenance import FILE, clean, safe

Entry = dict[str, Any]


class Writer:
    """One session of a run; appends to its own file, which nobody else does while this process lives."""

    def __init__(self, root: Path, run: str) -> None:
        self.folder, self._handle = _create(root / safe(run, FILE).replace("/", "_"))
        self._copies = 0
        self._at = 0
        self._guard = threading.Lock()

    def append(self, op: str, **arguments: Any) -> None:
        """Note an operation with plain JSON arguments and its time `at`, ms since 1970; secrets in them are left out.

        Raises:
            OSError: the disk is full, or worse.
        """
        with self._guard:
            # Never twice the same, so that the order can be told by the time alone.
            self._at = max(time.time_ns() // 1_000_000, self._at + 1)
            _append(self._handle, {"op": op, "at": self._at, **clean(arguments)})

    def room(self, name: str) -> tuple[Path, str]:
        """A place to copy a file to, and what to call it in an entry."""
        with self._guard:
            self._copies += 1
            place = f"files/{self._copies}/{safe(clean(name), FILE).replace('/', '_')}"
        path = self.folder / place
        path.parent.mkdir(parents=True)
        return path, place

    def close(self) -> None:
        """Let go of the session."""
        os.close(self._handle)


@dataclass(frozen=True)
class Session:
    """One session's folder, for whoever sends it; everything but `alive` and `waiting` needs the run's lock."""

    folder: Path

    @property
    def _entries(self) -> Path:
        return self.folder / "entries.jsonl"

    def alive(self) -> bool:
        """Whether the process that writes it still does."""
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
        """How many entries wait; 0 where somebody else has just sent and deleted them."""
        try:
            return sum(1 for _ in self.unsent())
        except FileNotFoundError:
            return 0

    def mark(self, sent: int) -> None:
        """Note that the first `sent` bytes are sent; a full disk is no reason to stop, since they may be sent again."""
        part = self.folder / ".sent"
        with contextlib.suppress(OSError):
            part.write_text(str(sent))
            os.replace(part, self.folder / "sent")

    def drop(self, place: str) -> None:
        """Delete the copy of a file that is sent."""
        shutil.rmtree((self.folder / place).parent, ignore_errors=True)

    def bury(self) -> None:
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
        """Delete it; the mark goes last, so that a kill in between sends nothing twice."""
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        self._entries.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sent(self) -> int:
        try:
            return int((self.folder / "sent").read_text())
        except (OSError, ValueError):
            return 0  # every operation may be repeated

    def _read(self, offset: int) -> Iterator[tuple[Entry, int]]:
        with open(self._entries, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # being written this moment, or cut short by a kill
                offset += len(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # empty, or cut short and ended by a later entry
                if isinstance(entry, dict) and isinstance(entry.get("op"), str):
                    yield entry, offset


def merged(unsent: Iterable[tuple[Entry, int]], size: int) -> Iterator[tuple[Entry, int]]:
    """The entries, those with points that follow each other as one, up to about `size` points: a call takes many at once."""
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
    """The folders of all runs of which something may wait."""
    return sorted({path.parent.parent for path in root.glob("*/*/entries.jsonl")})


def sessions(run: Path) -> list[Session]:
    """A run's sessions, oldest first."""
    return [Session(path.parent) for path in sorted(run.glob("*/entries.jsonl"))]


def tidy(run: Path) -> None:
    """Delete a run's folder, which the caller has locked, if no session is left; with what a killed `Session.delete` has left."""
    for folder in run.iterdir():
        if folder.is_dir() and not any(
            (folder / name).exists() for name in ("entries.jsonl", ".entries.jsonl")
        ):
            shutil.rmtree(folder, ignore_errors=True)
    if [path.name for path in run.iterdir()] == ["lock"]:
        (run / "lock").unlink()
        with contextlib.suppress(OSError):  # a new session has just come
            run.rmdir()


@contextlib.contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[int | None]:
    """Hold an exclusive lock on a file, made if need be; yields its handle, or None where another has it and `wait` is false."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            yield None
            return
        except BaseException:
            os.close(handle)
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)  # deleted while we waited for it
    try:
        yield handle
    finally:
        os.close(handle)


def _create(run: Path) -> tuple[Path, int]:
    """A new session and the locked handle of its file."""
    for tries_left in reversed(range(10)):
        folder = run / f"{time.time_ns():020d}-{os.getpid()}"
        hidden = folder / ".entries.jsonl"
        try:
            folder.mkdir(parents=True)
            handle = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
            # Locked before anybody can see it, or else it would look like a dead one's.
            fcntl.flock(handle, fcntl.LOCK_EX)
            hidden.rename(folder / "entries.jsonl")
        except (FileNotFoundError, FileExistsError):
            if tries_left:
                continue  # `tidy` was faster, or another thread of this process
            raise
        return folder, handle
    raise AssertionError


def _append(handle: int, entry: Entry) -> None:
    # The newline at the beginning ends a line that a kill or a full disk has cut short.
    content = f"\n{json.dumps(entry, allow_nan=False)}\n".encode()
    while content:
        content = content[os.write(handle, content) :]

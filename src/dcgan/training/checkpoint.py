"""The folder from which a killed training resumes: the last checkpoints of one trajectory.

A trajectory is what a training's weights go through, step by step; its name says what decides them
(`trajectory.identity`). A checkpoint `state-<step>.safetensors` + `.json` is everything that a
training needs to resume. It is never pickled, and read only after its sha256 is checked.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
from torch import Tensor

from dcgan import files
from dcgan.errors import DataError, EnvironmentProblem, NoCheckpoint

log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
KEPT_FOLDERS = 3


class Checkpoints:
    """The folder of one trajectory: its last two checkpoints, every export and picture made so far.

    It is no output of DVC, which deletes outputs before a stage runs; that is why a killed training
    can resume. Use it in a `with` statement, which locks it.
    """

    def __init__(self, root: Path, trajectory: str) -> None:
        self.folder = root / trajectory
        self._lock = _lock(self.folder)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None
        self._saved = time.monotonic()
        self.seconds = 0.0  # for which the training has waited for checkpoints

    def __enter__(self) -> "Checkpoints":
        """Lock the folder, and delete what a killed process has left half-written in it.

        Raises:
            EnvironmentProblem: another process trains in it, or it cannot be made.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.folder.mkdir(exist_ok=True)
        except filelock.Timeout:
            holder = self.folder / "holder"
            user = holder.read_text() if holder.is_file() else "another process"
            raise EnvironmentProblem(
                f"{self.folder}: in use by {user}: wait for it or stop it, then run again"
            ) from None
        except OSError as error:
            self._lock.release()
            raise EnvironmentProblem(
                f"{self.folder}: cannot be used ({error.strerror}): check the folder and its rights"
            ) from error
        files.write_text(self.folder / "holder", f"process {os.getpid()} on {os.uname().nodename}")
        # A checkpoint whose JSON was not yet written, or already deleted, does not count.
        incomplete = [
            path
            for path in self.folder.glob("state-*.safetensors")
            if not path.with_suffix(".json").exists()
        ]
        for left_over in [*self.folder.rglob(".part-*"), *incomplete]:
            left_over.unlink()
        os.utime(self.folder)  # `prune_others` goes by the time of last use
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._lock.release()

    def save(self, step: int, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps, then delete all but the two newest.

        The tensors are copied here. The rest happens in the background, because hashing and writing
        take longer than many steps on a GPU.

        Raises:
            EnvironmentProblem: the last one could not be written.
        """
        began = time.monotonic()
        self.wait()
        # Into the files' own order, so that the background has nothing to compute: a second thread
        # that computes with torch gets OpenMP threads of its own, and more of them than cores make
        # every later step slower, by a quarter where steps are short (docs/performance.md).
        copies = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
        }
        whole = {**description, "step": step, "trajectory": self.folder.name}
        self._writing = self._writer.submit(self._write, step, copies, whole)
        self._saved = time.monotonic()
        self.seconds += self._saved - began

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            EnvironmentProblem: it could not be written.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def age(self) -> float:
        """Seconds since the last checkpoint, or since this object was made."""
        return time.monotonic() - self._saved

    def _write(self, step: int, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        files.write_tensors(self.folder / f"state-{step:09d}.safetensors", tensors, description)
        for old in self._paths()[:-KEPT_CHECKPOINTS]:
            # The JSON goes first: a checkpoint without it does not count.
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)

    def load_newest(
        self, check: Callable[[dict[str, Tensor]], str | None] = lambda tensors: None
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and description of the newest intact checkpoint, or None in a new folder.

        Args:
            check: says what is wrong with the tensors, or None.

        Raises:
            NoCheckpoint: there are checkpoints and none is intact.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                tensors, description = files.read_tensors(path, sealed=True)
                whose = description.get("trajectory")
                if whose != self.folder.name:
                    raise DataError(f"{path}: is of another training ({whose})")
                if wrong := check(tensors):
                    raise DataError(f"{path}: does not fit this training ({wrong})")
                return tensors, description
            except DataError as error:
                log.warning("%s; trying the checkpoint before it", error)
        if paths:
            raise NoCheckpoint(
                f"{self.folder}: none of its {len(paths)} checkpoints is intact:"
                " delete the folder to start anew"
            )
        return None

    def newest_step(self) -> int:
        """The step of the newest checkpoint, intact or not; 0 without one."""
        paths = self._paths()
        return int(paths[-1].stem.removeprefix("state-")) if paths else 0

    def _paths(self) -> list[Path]:
        return sorted(path.with_suffix(".safetensors") for path in self.folder.glob("state-*.json"))

    def prune_others(self, keep: int = KEPT_FOLDERS) -> None:
        """Delete the least recently used folders of other trajectories, with their locks.

        Args:
            keep: folders that stay, this one among them; those in use stay too.
        """
        root = self.folder.parent
        others = sorted(
            (path for path in root.iterdir() if path.is_dir() and path != self.folder),
            key=lambda path: path.stat().st_mtime,
        )
        without_folder = [
            path.with_suffix("")
            for path in root.glob("*.lock")
            if not path.with_suffix("").exists()
        ]
        for folder in [*others[: max(len(others) - keep + 1, 0)], *without_folder]:
            try:
                with _lock(folder):
                    if folder.exists():
                        shutil.rmtree(folder)
                    # While the lock is held: a process that waits for it then finds that its file
                    # is gone, and makes a new one.
                    _lock_path(folder).unlink(missing_ok=True)
            except filelock.Timeout:
                continue  # a training runs in it


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _lock(folder: Path) -> filelock.FileLock:
    return filelock.FileLock(_lock_path(folder), timeout=0)

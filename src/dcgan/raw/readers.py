"""Records in arrays and in zips, and the checks that the readers of several data sets share."""

import itertools
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.errors import DataError
from dcgan.raw import archives
from dcgan.raw.dataset import Labels, Pixels, Unreadable


class ArrayRecords:
    """Images from one or several files, each an array, N x H x W or N x H x W x 3.

    Args:
        parts: for each file its name, its images and their labels.
    """

    def __init__(self, parts: Sequence[tuple[str, Pixels, Labels]]) -> None:
        self.names, self.arrays, labels = zip(*parts, strict=True)
        self.labels: Labels | None = np.concatenate(labels)
        self.digests = None
        self.starts = [0, *itertools.accumulate(len(array) for array in self.arrays)]

    def __len__(self) -> int:
        return self.starts[-1]

    def name(self, index: int) -> str:
        """Its file and its position there, "data_batch_2.bin[3]"."""
        part, position = self._locate(index)
        return f"{self.names[part]}[{position}]"

    def read(self, index: int) -> Pixels:
        """Pixels, H x W or H x W x 3, uint8."""
        part, position = self._locate(index)
        return np.array(self.arrays[part][position])

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return part, index - self.starts[part]


class OpenZip:
    """A zip that several threads may read.

    Raises:
        DataError: the file is no zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except archives.ZIP_ERRORS as error:
            raise DataError(
                f"{path}: is no zip file ({error}): run the stage that makes it"
            ) from error
        self.lock = threading.Lock()

    def read(self, name: str) -> bytes:
        """The bytes of one member; raises Unreadable where it is damaged or empty."""
        try:
            with self.lock:
                content = self.zip.read(name)
        except archives.ZIP_ERRORS as error:
            raise Unreadable(f"is damaged in {self.path.name} ({error})") from error
        if not content:
            raise Unreadable("is empty")
        return content


class ZipRecords:
    """Encoded images in a zip.

    Args:
        archive: the zip.
        entries: for each image the name that messages show and the name that it has in the zip.
        labels: N, or None.
    """

    def __init__(
        self,
        archive: OpenZip,
        entries: Sequence[tuple[str, str]],
        labels: Labels | None = None,
    ) -> None:
        self.archive, self.entries, self.labels = archive, entries, labels
        self.digests = None

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        """The name that messages show."""
        return self.entries[index][0]

    def read(self, index: int) -> bytes:
        """The image file; raises Unreadable where the zip has no good bytes of it."""
        return self.archive.read(self.entries[index][1])


def check_labels(labels: npt.NDArray[Any], low: int, high: int, path: Path) -> Labels:
    """The labels of a file as int64.

    Raises:
        DataError: one is no integer, or not from `low` to `high`.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: labels are {labels.dtype}, expected integers: get it again")
    wrong = np.flatnonzero((labels < low) | (labels > high))
    if len(wrong):
        raise DataError(
            f"{path}: label {wrong[0]} is {labels[wrong[0]]}, expected {low} to {high}:"
            " get it again"
        )
    return labels.astype(np.int64)


def size_of(path: Path) -> int:
    """The bytes of a raw file.

    Raises:
        DataError: it is missing or cannot be looked at.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): run the stage that makes it"
        ) from error

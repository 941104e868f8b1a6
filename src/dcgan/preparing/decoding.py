"""Decoding of all chosen images, in a folder that outlives a killed run.

Images are decoded in chunks, by all cores, each chunk marked when it is on the disk: a run that is
started again continues with the first chunk that has no mark. Memory does not grow with the number
of images.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from dcgan import data, files
from dcgan.config import sections
from dcgan.preparing import decode
from dcgan.raw.dataset import Records, Unreadable

CHUNK = 1024  # images between two marks
PENDING, GOOD, BAD = 0, 1, 2


@dataclass
class Part:
    """Chosen records and their decoded images, mapped from the resume folder."""

    records: Records
    chosen: data.Labels  # positions in the records
    images: data.Images  # one for each chosen record; the pixels of a bad one mean nothing
    status: npt.NDArray[np.uint8]
    reasons: Path  # JSON lines, [position in `chosen`, reason]

    @property
    def labels(self) -> data.Labels:
        """The chosen records' labels; zeros where there are none."""
        return (
            np.zeros(len(self.chosen), np.int64)
            if self.records.labels is None
            else self.records.labels[self.chosen]
        )

    @property
    def good(self) -> data.Labels:
        """Positions of the images that can be used, in rising order."""
        return np.flatnonzero(self.status == GOOD)


def open_part(
    folder: Path, name: str, records: Records, chosen: data.Labels, dataset: sections.Dataset
) -> Part:
    """Map what an earlier run has left in the resume folder, or reserve the room for it."""
    shape = (len(chosen), dataset.channels, dataset.image_size, dataset.image_size)
    images = _map(folder / f"{name}.images.npy", shape)
    status = _map(folder / f"{name}.status.npy", shape[:1])
    return Part(records, chosen, images, status, folder / f"{name}.bad.jsonl")


def decode_part(part: Part, dataset: sections.Dataset, on_progress: Callable[[int], None]) -> None:
    """Decode chunk after chunk, except those that an earlier run has done.

    Args:
        part: what to decode; its images and its status are filled.
        dataset: gives size, channels and crop.
        on_progress: called with the number of images done, after each chunk.
    """
    # Once for all threads, because the filters are shared. An image that Pillow reads, but with a
    # warning, is not bad.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as threads:
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(part.chosen), CHUNK):
            chunk = range(start, min(start + CHUNK, len(part.chosen)))
            if (part.status[start : chunk.stop] == PENDING).any():
                reasons = zip(
                    chunk,
                    threads.map(lambda position: _decode_one(part, position, dataset), chunk),
                    strict=True,
                )
                _mark(
                    part,
                    {position: reason for position, reason in reasons if reason is not None},
                    chunk,
                )
            on_progress(chunk.stop)


def bad(parts: Iterable[Part]) -> list[str]:
    """All bad images, "name (reason)"."""
    named = []
    for part in parts:
        positions = np.flatnonzero(part.status == BAD)
        reasons = _read_reasons(part.reasons) if len(positions) else {}
        named += [
            f"{part.records.name(int(part.chosen[position]))} ({reasons[position]})"
            for position in positions.tolist()
        ]
    return named


def _map(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A file of bytes, mapped for reading and writing; zeros where it is new."""
    if 0 in shape:
        return np.empty(shape, np.uint8)  # an empty file cannot be mapped
    if not path.exists():
        with files.replacing(path) as temporary:
            np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            # The room is reserved now: to write to a mapped file on a full disk is no error but a
            # crash.
            if hasattr(os, "posix_fallocate"):
                with open(temporary, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
    return np.lib.format.open_memmap(path, mode="r+")


def _decode_one(part: Part, position: int, dataset: sections.Dataset) -> str | None:
    """Fill the image's place, or say why it is bad."""
    index = int(part.chosen[position])
    suffix = PurePath(part.records.name(index)).suffix
    try:
        source = part.records.read(index)
        part.images[position] = decode.decode(
            source, size=dataset.image_size, channels=dataset.channels, crop=dataset.crop,
            suffix=suffix,
        )  # fmt: skip
    except (decode.BadImage, Unreadable) as error:
        return str(error)
    return None


def _mark(part: Part, bad: dict[int, str], chunk: range) -> None:
    """Put a chunk on the disk, its marks last."""
    _flush(part.images)
    with open(part.reasons, "a") as file:
        # The newline comes first, to end a line that a kill has cut short.
        file.writelines(f"\n{json.dumps([position, reason])}" for position, reason in bad.items())
        file.flush()
        os.fsync(file.fileno())
    part.status[chunk.start : chunk.stop] = GOOD
    part.status[list(bad)] = BAD
    _flush(part.status)


def _flush(array: npt.NDArray[np.uint8]) -> None:
    if isinstance(array, np.memmap):
        array.flush()


def _read_reasons(path: Path) -> dict[int, str]:
    reasons = {}
    for line in path.read_text().splitlines():
        try:
            position, reason = json.loads(line)
        except ValueError:
            continue  # empty, or cut short by a kill: its chunk was decoded again
        reasons[position] = reason
    return reasons

"""Decoding of all chosen images, in a folder that outlives a killed run.

Images are decoded in chunks, by all cores, each chunk marked when it is on the disk: a run that is
started again continues with the first chunk that has no mark. Memory does not grow with the number
of images.
"""

import functools
import json
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import data, files
from dcgan.config import sections
from dcgan.preparing import decode
from dcgan.raw.dataset import Records, Unreadable

CHUNK = 1024  # images between two marks
PENDING, GOOD, BAD = 0, 1, 2
DEEP = 3  # more than 8 bits: waits until the range of all such images is known


@dataclass
class Part:
    """Chosen records and their decoded images, mapped from the resume folder."""

    records: Records
    chosen: data.Labels  # positions in the records
    images: data.Images  # one for each chosen record; the pixels of a bad one mean nothing
    status: npt.NDArray[np.uint8]
    facts: npt.NDArray[np.uint16]  # decode.Fact
    cut: npt.NDArray[np.uint8]  # percent of an image's area that was cut off
    peaks: npt.NDArray[np.uint32]  # largest values of images of more than 8 bits; 0: of others
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

    def mapped(kind: str, dtype: type, shape: tuple[int, ...] = shape[:1]) -> npt.NDArray[Any]:
        return _map(folder / f"{name}.{kind}.npy", shape, dtype)

    return Part(
        records,
        chosen,
        mapped("images", np.uint8, shape),
        status=mapped("status", np.uint8),
        facts=mapped("facts", np.uint16),
        cut=mapped("cut", np.uint8),
        peaks=mapped("peaks", np.uint32),
        reasons=folder / f"{name}.bad.jsonl",
    )


def decode_part(
    part: Part,
    dataset: sections.Dataset,
    on_progress: Callable[[int], None],
    *,
    white: int | None = None,
) -> None:
    """Decode chunk after chunk, except those that an earlier run has done.

    Args:
        part: what to decode; its arrays are filled.
        dataset: gives size, channels, and how an image becomes a square.
        on_progress: called with the number of images done, after each chunk.
        white: of images of more than 8 bits; None: these are left DEEP, with their peaks.
    """
    wanted = (PENDING,) if white is None else (PENDING, DEEP)
    # Once for all threads, because the filters are shared. An image that Pillow reads, but with a
    # warning, is not bad.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as threads:
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(part.chosen), CHUNK):
            chunk = np.arange(start, min(start + CHUNK, len(part.chosen)))
            chunk = chunk[np.isin(part.status[chunk], wanted)]
            if len(chunk):
                one = functools.partial(_decode_one, part, dataset=dataset, white=white)
                _mark(part, chunk, list(threads.map(one, chunk.tolist())))
            on_progress(min(start + CHUNK, len(part.chosen)))


def white(parts: Iterable[Part]) -> int | None:
    """The smallest 2^n - 1, n at least 8, that no pixel of images of more than 8 bits exceeds.

    Returns:
        What becomes 255 in these images; None where there are none.
    """
    peak = max(int(part.peaks.max(initial=0)) for part in parts)
    deep = peak > 0 or any((part.status == DEEP).any() for part in parts)
    return (1 << max(8, peak.bit_length())) - 1 if deep else None


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


def _map(path: Path, shape: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
    """A file, mapped for reading and writing; zeros where it is new."""
    if 0 in shape:
        return np.empty(shape, dtype)  # an empty file cannot be mapped
    if not path.exists():
        with files.replacing(path) as temporary:
            np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
            # The room is reserved now: to write to a mapped file on a full disk is no error but a
            # crash.
            if hasattr(os, "posix_fallocate"):
                with open(temporary, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
    return np.lib.format.open_memmap(path, mode="r+")


def _decode_one(
    part: Part, position: int, dataset: sections.Dataset, white: int | None
) -> tuple[int, str | None]:
    """Fill the image's place; its status, and why it is bad."""
    index = int(part.chosen[position])
    suffix = PurePath(part.records.name(index)).suffix
    try:
        source = part.records.read(index)
        decoded = decode.decode(source, dataset, suffix=suffix, white=white)
    except decode.RangeWanted as wanted:
        part.peaks[position] = wanted.peak
        return DEEP, None
    except (decode.BadImage, Unreadable) as error:
        return BAD, str(error)
    part.images[position] = decoded.pixels
    part.facts[position], part.cut[position] = decoded.facts, decoded.cut
    return GOOD, None


def _mark(part: Part, chunk: data.Labels, results: list[tuple[int, str | None]]) -> None:
    """Put a chunk on the disk, its marks last."""
    for array in (part.images, part.facts, part.cut, part.peaks):
        _flush(array)
    with open(part.reasons, "a") as file:
        for position, (_, reason) in zip(chunk.tolist(), results, strict=True):
            if reason is not None:
                # The newline comes first, to end a line that a kill has cut short.
                file.write(f"\n{json.dumps([position, reason])}")
        file.flush()
        os.fsync(file.fileno())
    part.status[chunk] = [status for status, _ in results]
    _flush(part.status)


def _flush(array: npt.NDArray[Any]) -> None:
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

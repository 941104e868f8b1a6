"""Decoding of all chosen images to shards, in a folder that outlives a killed run.

A shard is decoded, written and marked as a whole, and depends on its own images alone: a run that
is started again goes on with the first shard without a mark, several processes decode several
shards, and several machines may share them. Memory does not grow with the number of images, except
for some thirty bytes of facts about each.
"""

import functools
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import data, files
from dcgan.config import sections
from dcgan.preparing import decode, duplicates
from dcgan.raw.dataset import Raw, Records, Unreadable

GOOD, BAD = 1, 2
DEEP = 3  # more than 8 bits: waits until the range of all such images is known
AT_ONCE = 1024  # images between two words of progress
FEW = 4  # shards that threads decode: to start processes takes as long as a shard

Workers = Callable[[], AbstractContextManager[Executor]]

# What is known of each image after decoding, beside its pixels.
FACTS: dict[str, tuple[type, tuple[int, ...]]] = {
    "status": (np.uint8, ()),
    "facts": (np.uint16, ()),  # decode.Fact
    "cut": (np.uint8, ()),  # percent of the area that was cut off
    "peaks": (np.uint32, ()),  # largest value of an image of more than 8 bits; 0: of others
    "digests": (np.uint64, (2,)),  # of the pixels
    "hashes": (np.uint64, ()),  # perceptual, where near duplicates are looked for; else 0
}


@dataclass(frozen=True)
class Job:
    """One shard: which records it has, and where it goes."""

    of_test: bool  # of the data set's own test split; False: of the pool
    chosen: data.Labels  # positions in the records
    number: int
    folder: Path
    dataset: sections.Dataset

    @property
    def path(self) -> Path:
        """The pixels."""
        return self.folder / data.shard_name(self.number)

    @property
    def facts(self) -> Path:
        """The facts of FACTS; written last, it marks the shard as done."""
        return self.path.with_name(f"facts-{self.number:05d}.npz")


@dataclass
class Part:
    """Chosen records and what is known of them; `finish` fills in what decoding finds."""

    records: Records
    chosen: data.Labels  # positions in the records
    jobs: Sequence[Job]
    first: int  # the number of its first image, among those of all shards
    shards: list[data.Shard] = field(default_factory=list)
    status: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    facts: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    cut: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    peaks: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    digests: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty((0, 2), np.uint64))
    hashes: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    reasons: dict[int, str] = field(default_factory=dict)  # of bad images, by position in `chosen`

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

    def finish(self) -> None:
        """Read what is known of the shards, all of which are done."""
        marks = [_read(job) for job in self.jobs]
        self.shards = [shard for shard, _, _ in marks]
        for name, (dtype, shape) in FACTS.items():
            parts = [facts[name] for _, facts, _ in marks]
            setattr(self, name, np.concatenate([np.empty((0, *shape), dtype), *parts]))
        self.reasons, start = {}, 0
        for job, (_, _, reasons) in zip(self.jobs, marks, strict=True):
            self.reasons |= {start + position: reason for position, reason in reasons.items()}
            start += len(job.chosen)

    def images(self) -> data.Rows:
        """The decoded images; the pixels of a bad one are 0."""
        shards = [np.load(job.path, mmap_mode="r", allow_pickle=False) for job in self.jobs]
        return data.Rows(shards, np.arange(len(self.chosen)))


def plan(
    folder: Path,
    pool: tuple[Records, data.Labels],
    test: tuple[Records, data.Labels] | None,
    dataset: sections.Dataset,
) -> list[Part]:
    """Cut the chosen records of the pool, and of the data set's own test split, into shards."""
    size = data.shard_size(dataset.channels * dataset.image_size**2)
    parts: list[Part] = []
    number = first = 0
    for records, chosen in (pool, *([test] if test else [])):
        cuts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        jobs = [
            Job(bool(parts), cut, number + place, folder, dataset) for place, cut in enumerate(cuts)
        ]
        parts.append(Part(records, chosen, jobs, first))
        number, first = number + len(jobs), first + len(chosen)
    return parts


def decode_shards(
    raw: Raw,
    jobs: Sequence[Job],
    on_progress: Callable[[int], None],
    *,
    white: int | None = None,
    workers: Workers | None = None,
) -> None:
    """Decode those shards that no earlier run has finished.

    Args:
        raw: the records.
        jobs: the shards.
        on_progress: called with the number of images done.
        white: of images of more than 8 bits; None: these are left DEEP, with their peaks.
        workers: opens processes that have called `open_here`; None: threads of this one do all.
    """
    left = [job for job in jobs if not _is_done(job, white)]
    done = sum(len(job.chosen) for job in jobs) - sum(len(job.chosen) for job in left)
    on_progress(done)
    if workers is not None and len(left) > FEW and (os.cpu_count() or 1) > 1:
        # Processes, because Python's lock lets threads decode 3,000 images a second at most.
        with workers() as pool:
            started = {pool.submit(_decode_here, job, white): job for job in left}
            for future in as_completed(started):
                future.result()
                done += len(started[future].chosen)
                on_progress(done)
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for job in left:
            for count in decode_shard(raw, job, white, threads.map):
                on_progress(done + count)
            done += len(job.chosen)


def decode_shard(
    raw: Raw,
    job: Job,
    white: int | None = None,
    each: Callable[..., Iterable[Any]] = map,
) -> Iterator[int]:
    """Decode one shard, and write it; `each` is the map function.

    Yields:
        How many of its images are done.
    """
    records = raw.test if job.of_test else raw.pool
    assert records is not None, "the data set has no test split"
    count, side = len(job.chosen), job.dataset.image_size
    images = np.zeros((count, job.dataset.channels, side, side), np.uint8)
    facts: dict[str, npt.NDArray[Any]] = {
        name: np.zeros((count, *shape), dtype) for name, (dtype, shape) in FACTS.items()
    }
    one = functools.partial(_decode_one, records, job, white, images, facts)
    reasons: dict[int, str] = {}
    # Once for all threads, because the filters are shared. An image that Pillow reads, but with a
    # warning, is not bad.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, count, AT_ONCE):
            positions = range(start, min(start + AT_ONCE, count))
            results = each(one, positions)
            reasons |= {place: why for place, why in zip(positions, results, strict=True) if why}
            yield positions.stop
    shard = data.write_shard(job.path, images)
    known = json.dumps({"sha256": shard.sha256, "reasons": reasons}).encode()
    with files.replacing(job.facts) as temporary:
        np.savez(temporary, known=np.frombuffer(known, np.uint8), **facts)  # type: ignore[arg-type]  # numpy types the names as flags


def white(parts: Iterable[Part]) -> int | None:
    """The smallest 2^n - 1, n at least 8, that no pixel of images of more than 8 bits exceeds.

    Returns:
        What becomes 255 in these images; None where there are none.
    """
    parts = list(parts)
    peak = max(int(part.peaks.max(initial=0)) for part in parts)
    deep = peak > 0 or any((part.status == DEEP).any() for part in parts)
    return (1 << max(8, peak.bit_length())) - 1 if deep else None


def bad(parts: Iterable[Part]) -> list[str]:
    """All bad images, "name (reason)"."""
    return [
        f"{part.records.name(int(part.chosen[position]))} ({reason})"
        for part in parts
        for position, reason in part.reasons.items()
    ]


def _decode_one(
    records: Records,
    job: Job,
    white: int | None,
    images: data.Images,
    facts: dict[str, npt.NDArray[Any]],
    position: int,
) -> str | None:
    """Fill the image's place; return why it is bad."""
    index = int(job.chosen[position])
    suffix = PurePath(records.name(index)).suffix
    try:
        decoded = decode.decode(records.read(index), job.dataset, suffix=suffix, white=white)
    except decode.RangeWanted as wanted:
        facts["peaks"][position], facts["status"][position] = wanted.peak, DEEP
        return None
    except (decode.BadImage, Unreadable) as error:
        facts["status"][position] = BAD
        return str(error)
    images[position] = decoded.pixels
    facts["facts"][position], facts["cut"][position] = decoded.facts, decoded.cut
    facts["digests"][position] = duplicates.digest(decoded.pixels)
    if job.dataset.duplicates == "near":
        facts["hashes"][position] = duplicates.perceptual(decoded.pixels)
    facts["status"][position] = GOOD
    return None


def _is_done(job: Job, white: int | None) -> bool:
    """Whether an earlier run has left the shard whole; images of more than 8 bits want `white`."""
    try:
        shard, facts, _ = _read(job)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False  # not there, or cut short with the disk
    if white is not None and (facts["status"] == DEEP).any():
        return False
    return job.path.is_file() and files.sha256(job.path) == shard.sha256


def _read(job: Job) -> tuple[data.Shard, dict[str, npt.NDArray[Any]], dict[int, str]]:
    """What is known of a shard: its file, the facts of its images, and why some are bad."""
    with np.load(job.facts, allow_pickle=False) as stored:
        facts = {name: stored[name] for name in FACTS}
        known = json.loads(stored["known"].tobytes())
    side = job.dataset.image_size
    shape = (len(job.chosen), job.dataset.channels, side, side)
    reasons = {int(position): reason for position, reason in known["reasons"].items()}
    return data.Shard(shape, "uint8", known["sha256"]), facts, reasons


# The records of a process that helps another.
_opened: list[Raw] = []


def open_here(raw: Raw) -> None:
    """Give this process the records that `decode_shards` lets it decode."""
    _opened[:] = [raw]


def _decode_here(job: Job, white: int | None) -> None:
    for _ in decode_shard(_opened[0], job, white):
        pass

"""Files from elsewhere, verified before anybody sees them.

The same bytes arrive whatever the source: what a source serves is checked against that source's own digest, what is inside against
a sha256 that all sources share. Everything happens in a temporary folder; only four good files replace what was there.
"""

import contextlib
import hashlib
import itertools
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from dcgan import files, idx
from dcgan.errors import DataError, EnvironmentProblem, UserError
from dcgan.sources import NAMES, Source, fashion_mnist_sources, own_source

CHUNK = 1 << 16
LOCK_SECONDS = 900  # for another process that fetches the same files
MAX_BYTES = 1 << 30  # of an uncompressed file whose size is not pinned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pin:
    """What one file must be, uncompressed."""

    size: int  # bytes
    sha256: str


FASHION_MNIST = {
    "train-images-idx3-ubyte": Pin(47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": Pin(60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": Pin(7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": Pin(10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}


def fetch(folder: Path, source: str | None = None) -> str:
    """Put the four uncompressed IDX files of Fashion-MNIST, or of a data set of one's own in its format, into `folder`.

    Beside them goes `manifest.json`, the sha256 of each by its name.

    Args:
        folder: where they go; touched only when all four are good.
        source: a folder or https URL that holds them, `.gz` or not, checked by their headers; None: Fashion-MNIST from the first
            of its sources that answers, checked by sha256. Files that are there already and right are not fetched again.

    Returns:
        The source that was used, in words.

    Raises:
        ConfigError: `source` is neither a folder's path nor an https URL.
        DataError: what a source has is damaged or is something else.
        EnvironmentProblem: no source could be reached, the disk is full, or another process holds the lock for too long.
    """
    if source is None:
        return fetch_from(fashion_mnist_sources(), folder, FASHION_MNIST)
    return fetch_from([own_source(source)], folder, {})


def fetch_from(sources: Sequence[Source], folder: Path, pins: Mapping[str, Pin]) -> str:
    """As `fetch`, from the first of `sources` whose files are good; `pins` by file name, or empty where nothing is known."""
    problems: list[UserError] = []
    with _locked(folder):
        pinned = {name: pin.sha256 for name, pin in pins.items()}
        if pins and all((folder / name).is_file() and files.sha256(folder / name) == pinned[name] for name in NAMES):
            files.write_json(folder / "manifest.json", pinned)
            return f"{folder}, where the verified files were already"
        for source in sources:
            with _staging(folder) as staging:
                try:
                    _stage(source, staging, pins)
                except UserError as error:
                    problem = type(error)(f"{source.name}: {str(error).replace(f'{staging}{os.sep}', '')}")
                    logger.log(logging.WARNING if isinstance(error, DataError) else logging.INFO, "%s", problem)
                    problems.append(problem)
                    continue
                digests = {name: files.sha256(staging / name) for name in NAMES}
                for name in NAMES:
                    with files.replacing(folder / name) as temporary:
                        os.replace(staging / name, temporary)
                files.write_json(folder / "manifest.json", digests)
                return source.name
    if len(problems) == 1:
        raise problems[0]
    kind = DataError if any(isinstance(problem, DataError) for problem in problems) else EnvironmentProblem
    raise kind(
        f"{folder}: no source of the data could be used: {'; '.join(map(str, problems))};"
        " check the network, or set dataset.source to a folder that has the four files"
    )


def _stage(source: Source, staging: Path, pins: Mapping[str, Pin]) -> None:
    """Put the four files, good ones, into the folder `staging`."""
    served = source.get(staging / "served")
    for name in NAMES:
        _unpack(served, staging / name, source.digests.get(name), pins.get(name))
    for part in ("train", "t10k"):
        idx.check_pair(staging / f"{part}-images-idx3-ubyte", staging / f"{part}-labels-idx1-ubyte")


def _unpack(served: Path, target: Path, digest: str | None, pin: Pin | None) -> None:
    """Check one served file and write its uncompressed bytes to `target`, never more of them than expected."""
    packed, plain = served / f"{target.name}.gz", served / target.name
    path = packed if packed.is_file() else plain
    if not path.is_file():
        raise DataError(f"{packed.name} and {plain.name} are both missing, expected one of them")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: cannot be read: check its rights")
    if digest and path == packed:
        _check_digest(path, digest)
    chunks = _gunzip(path) if path == packed else _read(path)
    head = next(chunks, b"")
    limit = pin.size if pin else min(idx.parse(head[:16], path.name)[0], MAX_BYTES)
    size = 0
    with files.replacing(target) as temporary, open(temporary, "wb") as file:
        for chunk in itertools.chain([head], chunks):
            size += len(chunk)
            if size > limit:
                raise DataError(f"{path.name}: holds more than the expected {limit} bytes: refused")
            file.write(chunk)
    if pin:
        _check_digest(target, f"sha256:{pin.sha256}")


def _check_digest(path: Path, digest: str) -> None:
    algorithm, expected = digest.split(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise DataError(f"{path.name}: {algorithm} is {found}, expected {expected}: refused")


def _read(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _gunzip(path: Path) -> Iterator[bytes]:
    """The uncompressed bytes, at most CHUNK at a time, of a file that is one whole gzip member and nothing else."""
    inflater = zlib.decompressobj(wbits=31)
    with open(path, "rb") as file:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or file.read(CHUNK)
            try:
                chunk = inflater.decompress(packed, CHUNK)
            except zlib.error as error:
                raise DataError(f"{path.name}: is damaged or no gzip file ({error}): refused") from error
            if chunk:
                yield chunk
            elif not packed and not inflater.eof:
                raise DataError(f"{path.name}: is truncated after {file.tell()} bytes: refused")
        rest = inflater.unused_data + file.read(2)
    if rest[:2] == b"\x1f\x8b":
        raise DataError(f"{path.name}: has a second gzip member: refused")
    if rest:
        raise DataError(f"{path.name}: has garbage after its end: refused")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock beside `folder`; the system frees the lock of a process that died."""
    path = folder.parent / f".{folder.name}.lock"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise EnvironmentProblem(f"{path}: another process has held it for {LOCK_SECONDS} s: wait for it, or end it") from error
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be written ({error.strerror}): check the folder and its rights") from error
    try:
        yield
    finally:
        # While we hold it: whoever waits for this file finds that it is gone (filelock looks) and makes it anew.
        path.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, so on the same disk. What a killed process left goes first; we hold the lock."""
    prefix = f".{folder.name}-part-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".part-*"):
        left.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as name:
        yield Path(name)

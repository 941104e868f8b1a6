"""The files of each data set as arrays or entries, after a look at whether they are what they claim to be.

Every function raises DataError, with the file named, where they are not. Labels are int64, pixels
uint8.
"""

import contextlib
import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.errors import ConfigError, DataError
from dcgan.raw import archives, idx
from dcgan.raw.catalog import CELEBA_PARTITION, MAX_IMAGE_BYTES, MIB

CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the planes R, G and B
MAX_TEXT_BYTES = 64 * MIB  # of CelebA's partition file and of its attributes
LMDB_MAGIC = b"\xde\xc0\xef\xbe"
POOL, TEST = (0, 1), (2,)  # the partitions of CelebA: train and validation; test

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def idx_pair(folder: Path, part: str) -> tuple[Images, Labels]:
    """Images (N x H x W, mapped from the disk) and labels of ten classes, of the part `train` or `t10k`."""
    images, labels = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
    idx.check_pair(images, labels)
    return idx.mapped(images), _labels(idx.read(labels), 0, 9, labels)


def cifar(path: Path) -> tuple[Images, Labels]:
    """Images (N x 32 x 32 x 3, mapped from the disk) and labels of one file of CIFAR-10's binary version."""
    size = _size(path)
    if size == 0 or size % CIFAR_RECORD:
        raise DataError(
            f"{path}: has {size} bytes, expected a multiple of {CIFAR_RECORD}: is it CIFAR-10's binary version?"
        )
    records = np.memmap(path, np.uint8, mode="r", shape=(size // CIFAR_RECORD, CIFAR_RECORD))
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return planes.transpose(0, 2, 3, 1), _labels(np.array(records[:, 0]), 0, 9, path)


def svhn(path: Path) -> tuple[Images, Labels]:
    """Images (N x 32 x 32 x 3, in memory) and labels of one MATLAB file of SVHN; its label 10 is the digit 0."""
    from scipy.io import loadmat, whosmat

    _size(path)
    try:
        # The sizes first: nothing large is read before they are right.
        described = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}
        shape, kind = described.get("X", ((), "nothing"))
        count = shape[-1] if shape else 0
        if shape != (32, 32, 3, count) or not count or kind != "uint8":
            raise DataError(
                f"{path}: X is {kind} {_text(shape)}, expected uint8 32 x 32 x 3 x N: is it SVHN's cropped version?"
            )
        if described.get("y", ((), ""))[0] != (count, 1):
            raise DataError(
                f"{path}: y is {_text(described.get('y', ((), ''))[0])}, expected {count} x 1, a label an image: get it again"
            )
        arrays = loadmat(str(path), variable_names=["X", "y"])
    except DataError:
        raise
    # loadmat meets damage with whatever its parts happen to raise.
    except Exception as error:
        raise DataError(
            f"{path}: is damaged or no MATLAB 5 file ({type(error).__name__}: {error}): get it again"
        ) from error
    return arrays["X"].transpose(3, 0, 1, 2), _labels(arrays["y"].ravel(), 1, 10, path) % 10


def celeba(images: Path, partition: Path) -> dict[str, int]:
    """The members of CelebA's zip, in the order of the partition file, with their partition; the pictures are not looked at."""
    parts: dict[str, int] = {}
    for number, line in enumerate(_lines(partition), start=1):
        match = re.fullmatch(r"(\d{6}\.jpg) +([012]) *", line, re.ASCII)
        name = f"img_align_celeba/{match[1]}" if match else ""
        if not match or name in parts:
            problem = "comes twice" if match else "expected e.g. '000001.jpg 0'"
            raise DataError(
                f"{partition}: line {number}: {line[:40]!r}: {problem}: get the file again"
            )
        parts[name] = int(match[2])
    for wanted, text in ((POOL, "0 or 1"), (TEST, "2")):
        if not set(wanted) & set(parts.values()):
            raise DataError(f"{partition}: has no image of partition {text}: is it the right file?")
    with archives.open_zip(images) as (_, entries):
        _check_entries(
            images, {name: entry.file_size for name, entry in entries.items()}, parts, partition
        )
    return parts


def celeba_labels(path: Path, parts: Collection[str], attributes: Sequence[str]) -> dict[str, int]:
    """Labels out of CelebA's attribute file, `list_attr_celeba.txt`.

    Its first line is the number of images, the second the names of the attributes, each other one
    an image's name and a value for each attribute, 1 (present) or -1.

    Args:
        path: the file.
        parts: the members that `celeba` returns: the file must have exactly these images, in any
            order.
        attributes: names out of the second line.

    Returns:
        By member, in the order of `parts`, the sum of 2^i over the attributes i that are present: 0
        to 2^len(attributes) - 1.

    Raises:
        DataError: the file is truncated, damaged or another one, or is not of these images.
        ConfigError: it has no such attribute.
    """
    lines = _lines(path)
    stated, names, rows = (
        (lines[0].strip() if lines else ""),
        (lines[1].split() if lines[1:] else []),
        lines[2:],
    )
    if not re.fullmatch(r"\d{1,9}", stated, re.ASCII):
        raise DataError(
            f"{path}: line 1: {stated[:40]!r}: expected the number of images, e.g. '202599': is it the right file?"
        )
    if (
        not names
        or len(set(names)) < len(names)
        or not all(re.fullmatch(r"\w+", name, re.ASCII) for name in names)
    ):
        raise DataError(
            f"{path}: line 2: expected the attributes' names, each once: is it the right file?"
        )
    columns = [_column(path, names, attribute) for attribute in attributes]
    labels: dict[str, int] = {}
    for number, row in enumerate(rows, start=3):
        image, *values = row.split() or [""]
        member = f"img_align_celeba/{image}"
        if len(values) != len(names) or not set(values) <= {"1", "-1"}:
            problem = f"expected a name and {len(names)} values of 1 or -1"
        elif member not in parts:
            problem = f"{CELEBA_PARTITION} has no such image"
        elif member in labels:
            problem = "comes twice"
        else:
            labels[member] = sum(
                1 << bit for bit, column in enumerate(columns) if values[column] == "1"
            )
            continue
        raise DataError(f"{path}: line {number}: {row[:40]!r}: {problem}: get the file again")
    if not int(stated) == len(labels) == len(parts):
        raise DataError(
            f"{path}: line 1 says {int(stated)} images, {len(labels)} follow, {CELEBA_PARTITION} has {len(parts)}:"
            " must be the same number: get both again"
        )
    return {member: labels[member] for member in parts}


def lsun(path: Path) -> tuple[Any, list[bytes]]:
    """LSUN's database, an `lmdb.Environment`, and its keys, sorted.

    What the two first pages say is compared with the file's length; a forged database can still
    break the reading process.
    """
    import lmdb

    size = _size(path)
    with open(path, "rb") as file:
        if file.read(20)[16:] != LMDB_MAGIC:
            raise DataError(f"{path}: is no LMDB file: get it again")
    with contextlib.ExitStack() as stack:
        try:
            environment = lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, create=False, readahead=False
            )
            stack.callback(environment.close)
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if size < needed:
                raise DataError(
                    f"{path}: has {size} bytes, its header says {needed}: is truncated: get it again"
                )
            with environment.begin() as transaction:
                keys = list(transaction.cursor().iternext(keys=True, values=False))
        except lmdb.Error as error:
            raise DataError(
                f"{path}: is a damaged LMDB file or cannot be opened ({error}): get it again"
            ) from error
        if not keys:
            raise DataError(f"{path}: holds 0 images: is it the right file?")
        stack.pop_all()  # it is good: stays open
    return environment, keys


def _column(path: Path, names: list[str], attribute: str) -> int:
    if attribute not in names:
        # In small letters, because all of the names have capitals, which are what a hand forgets.
        by_small = {name.lower(): name for name in names}
        close = difflib.get_close_matches(attribute.lower(), by_small, n=1)
        hint = (
            f"did you mean {by_small[close[0]]}?"
            if close
            else f"it has {', '.join(names[:5])} and {len(names[5:])} more"
        )
        raise ConfigError(
            f"params.yaml: dataset.attributes: {path.name} has no {attribute}: {hint}"
        )
    return names.index(attribute)


def _lines(path: Path) -> list[str]:
    if _size(path) > MAX_TEXT_BYTES:
        raise DataError(f"{path}: has more than {MAX_TEXT_BYTES} bytes: is it the right file?")
    return path.read_text(encoding="latin-1").splitlines()


def _check_entries(
    images: Path, sizes: dict[str, int], wanted: Collection[str], partition: Path
) -> None:
    missing = [name for name in wanted if name not in sizes]
    if missing:
        raise DataError(
            f"{images}: has no {missing[0]} ({len(missing)} of {partition.name}'s names are missing): get both again"
        )
    large = [name for name in wanted if sizes[name] > MAX_IMAGE_BYTES]
    if large:
        raise DataError(
            f"{images}: {large[0]} has {sizes[large[0]]} bytes, more than the allowed {MAX_IMAGE_BYTES}: refused"
        )


def _labels(found: npt.NDArray[Any], low: int, high: int, path: Path) -> Labels:
    if not np.issubdtype(found.dtype, np.integer):
        raise DataError(f"{path}: labels are {found.dtype}, expected integers: get it again")
    wrong = np.flatnonzero((found < low) | (found > high))
    if len(wrong):
        raise DataError(
            f"{path}: label {wrong[0]} is {found[wrong[0]]}, expected {low} to {high}: get it again"
        )
    return found.astype(np.int64)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): run the stage that makes it"
        ) from error


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "missing"

"""The IDX format of MNIST and its like: a header with the sizes, big-endian, then the bytes."""

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcgan.errors import DataError

# Magic number (two zeros, 08 for unsigned bytes, the number of dimensions) to the size of the
# header in bytes.
MAGIC = {b"\x00\x00\x08\x01": 8, b"\x00\x00\x08\x03": 16}


def parse(header: bytes, name: str) -> tuple[int, tuple[int, ...]]:
    """Read the sizes from a file's first 16 bytes.

    Args:
        header: the first 16 bytes, or fewer where the file is shorter.
        name: what to call the file in an error.

    Returns:
        The size the whole file must have, bytes, and the shape: (N,) for labels, (N, H, W) for
        images.

    Raises:
        DataError: these bytes begin no IDX file of labels or images.
    """
    length = MAGIC.get(header[:4])
    if length is None or len(header) < length:
        raise DataError(
            f"{name}: begins with {header[:4].hex() or 'nothing'},"
            " expected an IDX header (00000801 or 00000803)"
        )
    shape = struct.unpack(f">{length // 4 - 1}I", header[4:length])
    if 0 in shape:
        raise DataError(f"{name}: its header says {_text(shape)} values: is empty")
    # Python's integers: sizes near 2**32 do not overflow.
    return length + math.prod(shape), shape


def shape(path: Path) -> tuple[int, ...]:
    """The shape of an IDX file, after its header is compared with its length.

    Raises:
        DataError: the file is missing, is no IDX file, or is shorter or longer than its header
            says.
    """
    try:
        with open(path, "rb") as file:
            size, dimensions = parse(file.read(16), str(path))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): run the stage that makes it"
        ) from error
    if path.stat().st_size != size:
        raise DataError(
            f"{path}: has {path.stat().st_size} bytes,"
            f" its header ({_text(dimensions)}) says {size}: get it again"
        )
    return dimensions


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file: uint8, N for labels, N x H x W for images.

    Allocates the file's size and no more.

    Raises:
        DataError: as `shape`.
    """
    dimensions = shape(path)
    return np.fromfile(path, dtype=np.uint8, offset=4 + 4 * len(dimensions)).reshape(dimensions)


def mapped(path: Path) -> npt.NDArray[np.uint8]:
    """As `read`, mapped from the disk: nothing is read before it is used.

    Raises:
        DataError: as `shape`.
    """
    dimensions = shape(path)
    return np.memmap(path, np.uint8, mode="r", offset=4 + 4 * len(dimensions), shape=dimensions)


def check_pair(images: Path, labels: Path) -> None:
    """Compare the headers of an images file and its labels file, without reading either.

    Raises:
        DataError: as `shape`; the dimensions are not 3 and 1; or the counts differ.
    """
    for path, dimensions in ((images, 3), (labels, 1)):
        if len(shape(path)) != dimensions:
            raise DataError(
                f"{path}: has {len(shape(path))} dimensions, expected {dimensions}:"
                " are images and labels swapped?"
            )
    if shape(images)[0] != shape(labels)[0]:
        raise DataError(
            f"{labels}: has {shape(labels)[0]} labels,"
            f" {images.name} has {shape(images)[0]} images: get both again"
        )


def _text(dimensions: tuple[int, ...]) -> str:
    return " x ".join(map(str, dimensions))

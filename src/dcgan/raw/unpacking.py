"""What the data sets share on the way from the files of a source to the raw files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcgan.errors import DataError
from dcgan.raw import archives
from dcgan.raw.dataset import GIB, File, Pin

MAX_BYTES = GIB  # of a raw file whose size is not pinned


def check_served(served: Path, data_files: Sequence[File], digests: Mapping[str, str]) -> None:
    """Compare the files that a source served with the digests that its publisher gives.

    Args:
        served: the folder with the files.
        data_files: the files to compare, each under the first of its names that is in `served`.
        digests: "algorithm:hex" by name; none: nothing is compared.

    Raises:
        DataError: a file is missing, has another digest, or is not in `digests` although others
            are.
    """
    if not digests:
        return
    for file in data_files:
        path = find(served, *file.names)
        if path.name not in digests:
            raise DataError(f"{path.name}: nobody published a digest of it: refused")
        archives.check_digest(path, digests[path.name])


def find(served: Path, *names: str) -> Path:
    """The first of these files that is in the folder `served`.

    Raises:
        DataError: none of them is there, or one cannot be read.
    """
    for path in (served / name for name in names):
        try:
            there = path.is_file()
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}): check its rights"
            ) from error
        if there and not os.access(path, os.R_OK):
            raise DataError(f"{path}: cannot be read: check its rights")
        if there:
            return path
    if len(names) == 1:
        raise DataError(f"{names[0]} is missing")
    missing = "both" if len(names) == 2 else "all"
    raise DataError(f"{' and '.join(names)} are {missing} missing, expected one of them")


def check_pin(path: Path, pins: Mapping[str, Pin]) -> None:
    """Compare a raw file with its pin, if it has one.

    Raises:
        DataError: it has another sha256 or another size.
    """
    pin = pins.get(path.name)
    if pin and pin.sha256:
        archives.check_digest(path, f"sha256:{pin.sha256}")
    if pin and path.stat().st_size != pin.size:
        raise DataError(
            f"{path.name}: has {path.stat().st_size} bytes, expected {pin.size}: refused"
        )

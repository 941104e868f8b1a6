"""From the files of a source to the raw files of each data set, checked: what `dcgan.downloads` does between the two.

Each function takes the folder with what a source has, the folder for the raw files, and pins by raw
name (none for data of one's own). It raises DataError for anything that is missing, damaged or not
what it claims to be.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcgan.errors import DataError
from dcgan.raw import archives, formats
from dcgan.raw.catalog import (
    CELEBA_ATTRIBUTES,
    CELEBA_PARTITION,
    CELEBA_ZIP,
    CIFAR_FOLDER,
    CIFAR_TAR,
    CIFAR_TEST,
    CIFAR_TRAIN,
    GIB,
    IDX_NAMES,
    KNOWN,
    LSUN_MEMBER,
    LSUN_RAW,
    LSUN_ZIP,
    Known,
    Pin,
    known_of,
)

Pins = Mapping[str, Pin]
MAX_BYTES = GIB  # of a raw file whose size is not pinned
MAX_LSUN_BYTES = 64 * GIB


def check_served(served: Path, known: Known, digests: Mapping[str, str]) -> None:
    """Compare what a publisher's source serves with the digests of it; without digests there is nothing to compare."""
    if not digests:
        return
    for file in known.files:
        path = find(served, *file.names)
        if path.name not in digests:
            raise DataError(f"{path.name}: nobody published a digest of it: refused")
        archives.check_digest(path, digests[path.name])


def idx(served: Path, target: Path, pins: Pins) -> None:
    """MNIST and its relatives: each file gzipped or not."""
    for name in IDX_NAMES:
        archives.unpack_idx(
            find(served, f"{name}.gz", name), target / name, pins[name].size if pins else MAX_BYTES
        )
        _check_pin(target / name, pins)
    for part in ("train", "t10k"):
        formats.idx_pair(target, part)


def cifar10(served: Path, target: Path, pins: Pins) -> None:
    """CIFAR-10: the publisher's tar, or the files that are in it."""
    names = (*CIFAR_TRAIN, CIFAR_TEST)
    limit = max(pin.size for pin in pins.values()) if pins else MAX_BYTES
    if (served / CIFAR_TAR).is_file():
        members = {f"{CIFAR_FOLDER}/{name}": target / name for name in names}
        archives.unpack_tar(find(served, CIFAR_TAR), members, limit)
    else:
        found = {name: find(served, CIFAR_TAR, f"{CIFAR_FOLDER}/{name}", name) for name in names}
        for name, path in found.items():
            archives.copy(path, target / name, limit)
    for name in names:
        _check_pin(target / name, pins)
        formats.cifar(target / name)


def svhn(served: Path, target: Path, pins: Pins) -> None:
    """SVHN: its two MATLAB files."""
    for name in KNOWN["svhn"].raw:
        archives.copy(find(served, name), target / name, MAX_BYTES)
        formats.svhn(target / name)


def celeba(served: Path, target: Path, pins: Pins, attributes: Sequence[str] = ()) -> None:
    """CelebA: the zip stays as it is; its directory must have what the partition file names. With `attributes` their file too."""
    for file in known_of("celeba", attributes).files:
        archives.copy(find(served, *file.names), target / file.names[0], file.max_bytes)
    parts = formats.celeba(target / CELEBA_ZIP, target / CELEBA_PARTITION)
    if attributes:
        formats.celeba_labels(target / CELEBA_ATTRIBUTES, parts, attributes)


def lsun(served: Path, target: Path, pins: Pins) -> None:
    """LSUN: the database, out of its zip or as it is."""
    path = find(served, LSUN_ZIP, LSUN_MEMBER, "data.mdb")
    if path.name == LSUN_ZIP:
        archives.unpack_zip(path, LSUN_MEMBER, target / LSUN_RAW, MAX_LSUN_BYTES)
    else:
        archives.copy(path, target / LSUN_RAW, MAX_LSUN_BYTES)
    formats.lsun(target / LSUN_RAW)[0].close()


def find(served: Path, *names: str) -> Path:
    """The first of these files that is in the folder `served`."""
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
    raise DataError(
        f"{' and '.join(names)} are {'both' if len(names) == 2 else 'all'} missing, expected one of them"
    )


def _check_pin(path: Path, pins: Pins) -> None:
    pin = pins.get(path.name)
    if pin and pin.sha256:
        archives.check_digest(path, f"sha256:{pin.sha256}")
    if pin and path.stat().st_size != pin.size:
        raise DataError(
            f"{path.name}: has {path.stat().st_size} bytes, expected {pin.size}: refused"
        )

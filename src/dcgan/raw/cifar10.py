"""CIFAR-10: 32 x 32 RGB photographs of ten classes, in the binary version (no pickle)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import archives, readers, unpacking
from dcgan.raw.dataset import DataSet, File, Labels, Pin, Pixels, Raw

HOME = "https://www.cs.toronto.edu/~kriz/"
TAR, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
NAMES = (*TRAIN, TEST)
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
RECORD_BYTES = 1 + 3 * 32 * 32  # a label, then the planes R, G and B


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    """The publisher's tar, or the files that are in it."""
    limit = max(pin.size for pin in pins.values()) if pins else unpacking.MAX_BYTES
    if (served / TAR).is_file():
        members = {f"{FOLDER}/{name}": target / name for name in NAMES}
        archives.unpack_tar(unpacking.find(served, TAR), members, limit)
    else:
        _refuse_pickles(served)
        # All are looked for before the first is copied.
        paths = {name: unpacking.find(served, TAR, f"{FOLDER}/{name}", name) for name in NAMES}
        for name, path in paths.items():
            archives.copy(path, target / name, limit)
    for name in NAMES:
        unpacking.check_pin(target / name, pins)
        _read(target / name)


def _refuse_pickles(served: Path) -> None:
    """Say what to get to a user who has the version for Python, as torchvision keeps it."""
    for name in ("cifar-10-python.tar.gz", "cifar-10-batches-py", "data_batch_1"):
        if (served / name).exists():
            raise DataError(
                f"{served / name}: is CIFAR-10 as Python's pickles, which are never loaded, because"
                f" a pickle can run any program: get {TAR} from {HOME}cifar.html"
            )


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    pool, test = (
        readers.ArrayRecords([(name, *_read(folder / name)) for name in names])
        for names in (TRAIN, (TEST,))
    )
    return Raw(pool, test)


def _read(path: Path) -> tuple[Pixels, Labels]:
    """Images, N x 32 x 32 x 3, mapped from the disk, and labels of one file."""
    size = readers.size_of(path)
    if size == 0 or size % RECORD_BYTES:
        raise DataError(
            f"{path}: has {size} bytes, expected a multiple of {RECORD_BYTES}:"
            " is it CIFAR-10's binary version?"
        )
    rows = np.memmap(path, np.uint8, mode="r", shape=(size // RECORD_BYTES, RECORD_BYTES))
    planes = rows[:, 1:].reshape(-1, 3, 32, 32)
    return planes.transpose(0, 2, 3, 1), readers.check_labels(np.array(rows[:, 0]), 0, 9, path)


CIFAR10 = DataSet(
    raw=NAMES,
    unpack=_unpack,
    open=_open,
    licence=f"unknown; the publisher asks for a citation ({HOME}cifar.html)",
    drawings=False,
    test_split=True,
    classes=CLASSES,
    files=(File((TAR,)),),
    mirrors=(HOME,),
    digests={TAR: "md5:c32a1d4ab5d03f1284b67883e8d87530"},  # as torchvision publishes it
    pins={name: Pin(30_730_000) for name in NAMES},
)

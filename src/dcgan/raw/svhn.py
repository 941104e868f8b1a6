"""SVHN: 32 x 32 RGB photographs of house numbers, cropped to one digit, in two MATLAB files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import apart, archives, readers, unpacking
from dcgan.raw.dataset import GIB, DataSet, File, Labels, Pin, Pixels, Raw

TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    for name in (TRAIN, TEST):
        path = target / name
        archives.copy(unpacking.find(served, name), path, unpacking.MAX_BYTES)
        if dataset.source is not None:  # the publisher's are known by their digests
            most = GIB + 4 * archives.most_unpacked(readers.size_of(path))
            apart.try_reading(_try, path, most)
        _read(path)


def _try(path: Path) -> None:
    _read(path)


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    pool, test = (readers.ArrayRecords([(name, *_read(folder / name))]) for name in (TRAIN, TEST))
    return Raw(pool, test)


def _read(path: Path) -> tuple[Pixels, Labels]:
    """Images, N x 32 x 32 x 3, in memory, and labels of one file; its label 10 is the digit 0."""
    from scipy.io import loadmat, whosmat

    size = readers.size_of(path)
    try:
        # The sizes first: nothing large is read before they are right.
        described = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}
        shape, kind = described.get("X", ((), "nothing"))
        count = shape[-1] if shape else 0
        if shape != (32, 32, 3, count) or not count or kind != "uint8":
            raise DataError(
                f"{path}: X is {kind} {_text(shape)}, expected uint8 32 x 32 x 3 x N:"
                " is it SVHN's cropped version?"
            )
        if count * math.prod(shape[:-1]) > archives.most_unpacked(size):
            raise DataError(
                f"{path}: has {size} bytes for {count} images: photographs cannot be packed so"
                " small: refused"
            )
        of_labels = described.get("y", ((), ""))[0]
        if of_labels != (count, 1):
            raise DataError(
                f"{path}: y is {_text(of_labels)}, expected {count} x 1, a label an image:"
                " get it again"
            )
        arrays = loadmat(str(path), variable_names=["X", "y"])
    except DataError:
        raise
    # On a damaged file loadmat raises exceptions of many kinds.
    except Exception as error:
        raise DataError(
            f"{path}: is damaged or no MATLAB 5 file ({type(error).__name__}: {error}):"
            " get it again"
        ) from error
    labels = readers.check_labels(arrays["y"].ravel(), 1, 10, path) % 10
    return arrays["X"].transpose(3, 0, 1, 2), labels


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "missing"


SVHN = DataSet(
    raw=(TRAIN, TEST),
    unpack=_unpack,
    open=_open,
    licence="for non-commercial use only (http://ufldl.stanford.edu/housenumbers/)",
    drawings=False,
    test_split=True,
    classes=tuple("0123456789"),
    files=(File((TRAIN,)), File((TEST,))),
    mirrors=("https://ufldl.stanford.edu/housenumbers/",),
    digests={  # as torchvision publishes them
        TRAIN: "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        TEST: "md5:eb5a983be6a315427106f1b164d9cef3",
    },
)

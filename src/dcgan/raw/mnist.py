"""MNIST and Fashion-MNIST: 28 x 28 grey, ten classes, in four IDX files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import archives, idx, readers, unpacking
from dcgan.raw.dataset import MINUTE, DataSet, DebianPackage, File, Labels, Pin, Pixels, Raw

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
IDX_FILES = tuple(File((f"{name}.gz", name), seconds=5 * MINUTE) for name in IDX_NAMES)


def idx_data_set(
    *,
    mirrors: tuple[str, ...],
    digests: Mapping[str, str],
    pins: tuple[Pin, Pin, Pin, Pin],
    classes: tuple[str, ...],
    licence: str,
    debian: DebianPackage | None = None,
) -> DataSet:
    """A set of drawings in the four files of MNIST; `pins` in the order of IDX_NAMES."""
    return DataSet(
        raw=IDX_NAMES,
        unpack=_unpack,
        open=_open,
        licence=licence,
        drawings=True,
        test_split=True,
        classes=classes,
        files=IDX_FILES,
        mirrors=mirrors,
        digests=digests,
        pins=dict(zip(IDX_NAMES, pins, strict=True)),
        debian=debian,
    )


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    """The four files, each of them gzipped or not, as the publisher or torchvision lays them."""
    for name in IDX_NAMES:
        path = _find(served, name, dataset)
        limit = pins[name].size if pins else unpacking.MAX_BYTES
        archives.unpack_idx(path, target / name, limit)
        unpacking.check_pin(target / name, pins)
    _pairs(target)


def _find(served: Path, name: str, dataset: sections.DatasetFiles) -> Path:
    """One of the files, which may lie where torchvision puts it, and be named as Kaggle does."""
    torchvision = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}[dataset.name]
    names = (f"{name}.gz", name)
    for place in ("", "raw", torchvision):
        for each in (*names, name.replace("-idx", ".idx")):
            if (served / place / each).is_file():
                return unpacking.find(served / place, each)
    return unpacking.find(served, *names)


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    """The publisher's ten classes; of other labels those that occur, named by their numbers."""
    parts = _pairs(folder)
    found = np.unique(parts["train"][1])
    pool, test = (
        readers.ArrayRecords(
            [(f"{part}-images-idx3-ubyte", images, np.searchsorted(found, labels))]
        )
        for part, (images, labels) in parts.items()
    )
    if found.tolist() == list(range(10)):
        return Raw(pool, test)
    note = (
        f"the labels are {found.min()} to {found.max()}, not 0 to 9: {len(found)} classes, those"
        " that occur, named by their numbers"
    )
    return Raw(pool, test, tuple(map(str, found.tolist())), notes=(note,))


def _pairs(folder: Path) -> dict[str, tuple[Pixels, Labels]]:
    """Of `train` and `t10k` the images, N x H x W, mapped from the disk, and the labels."""
    parts: dict[str, tuple[Pixels, Labels]] = {}
    for part in ("train", "t10k"):
        images, labels = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
        idx.check_pair(images, labels)
        parts[part] = (idx.mapped(images), idx.read(labels).astype(np.int64))
    alone = np.setxor1d(parts["train"][1], parts["t10k"][1])
    if len(alone):
        here, other = ("train", "t10k") if alone[0] in parts["train"][1] else ("t10k", "train")
        raise DataError(
            f"{here}-labels-idx1-ubyte: has label {alone[0]}, which"
            f" {other}-labels-idx1-ubyte lacks: expected the same labels in both, because each"
            " class is learnt and judged: remove its images, or add some to the other files"
        )
    return parts


# Every md5 is the one that torchvision publishes.
MNIST = idx_data_set(
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    digests={
        "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
    pins=(Pin(47040016), Pin(60008), Pin(7840016), Pin(10008)),
    classes=tuple("0123456789"),
    licence=(
        "unknown from the publishers; Keras's documentation names them as holders of the copyright"
        " and Creative Commons Attribution-ShareAlike 3.0 as the licence"
        " (https://keras.io/api/datasets/mnist/)"
    ),
)

_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# Of the gzipped files in Debian's package.
_DEBIAN_SHA256 = (
    "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
)
FASHION_MNIST = idx_data_set(
    # The publisher's repository and bucket; the bucket's website, which torchvision uses, speaks
    # http only.
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    digests={
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    pins=(
        Pin(47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        Pin(60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        Pin(7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        Pin(10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
    classes=_CLOTHES,
    licence="MIT, Zalando SE (https://github.com/zalandoresearch/fashion-mnist)",
    debian=DebianPackage(
        name="dataset-fashion-mnist",
        folder="usr/share/datasets/fashion-mnist",
        digests={
            f"{name}.gz": f"sha256:{digest}"
            for name, digest in zip(IDX_NAMES, _DEBIAN_SHA256, strict=True)
        },
    ),
)

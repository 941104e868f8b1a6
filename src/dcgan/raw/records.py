"""The raw files of a data set, one image after the other, whatever it is stored in: what the prepare stage reads."""

import itertools
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dcgan import files
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import archives, catalog, formats
from dcgan.raw.catalog import (
    CELEBA_ATTRIBUTES,
    CELEBA_PARTITION,
    CELEBA_ZIP,
    CIFAR_TEST,
    CIFAR_TRAIN,
    FOLDER_LIST,
    FOLDER_ZIP,
    LSUN_RAW,
    SVHN_TEST,
    SVHN_TRAIN,
)

FAKE_IMAGES = (
    2000  # that can be drawn for train and validation where dataset.max_images says nothing
)

Labels = npt.NDArray[np.int64]
Array = npt.NDArray[np.uint8]


class Unreadable(Exception):
    """An image whose bytes cannot be had; the text says why. Whether that matters is for the caller to say."""


class Records(Protocol):
    """Images by number, with labels where there are any."""

    @property
    def labels(self) -> Labels | None:
        """Positions in the data set's classes, N; None where it has none."""

    def __len__(self) -> int:
        """How many."""

    def name(self, index: int) -> str:
        """What to call an image in a message."""

    def read(self, index: int) -> bytes | Array:
        """An encoded image file, or pixels, H x W or H x W x 3. Safe from several threads; raises Unreadable."""


@dataclass
class Raw:
    """A data set as it was downloaded."""

    pool: Records  # everything outside the data set's own test split
    test: Records | None  # that split, where it has one
    classes: tuple[str, ...]  # their names; () where there are no labels
    ignored: int  # files of a folder that are no images


def open_raw(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    """Open what `downloads.fetch` left in `folder`; that of LSUN only once at a time in a process.

    Args:
        folder: the raw files and `manifest.json`, whose sha256 are compared first.
        dataset: its `name`; for celeba also its `attributes`, for fake sizes, channels and counts.
        seed: of the images of fake.

    Raises:
        DataError: a file is missing, has other bytes than were downloaded, or is not what it claims
            to be.
        ConfigError: an attribute that celeba does not have.
    """
    known = catalog.known_of(dataset.name, dataset.attributes)
    digests = files.read_json(folder / "manifest.json")
    for name in known.raw:
        files.verify(
            folder / name, digests.get(name, "none") if isinstance(digests, dict) else "none"
        )
    if dataset.name == "folder":
        return _open_folder(folder)
    if dataset.name == "lsun":
        return Raw(_Database(*formats.lsun(folder / LSUN_RAW)), None, (), 0)
    if dataset.name == "fake":
        count = (dataset.max_images or FAKE_IMAGES) + dataset.test_size
        return Raw(
            _Shapes(count, dataset.image_size, dataset.channels, seed), None, known.classes, 0
        )
    if dataset.name == "celeba":
        return _open_celeba(folder, dataset.attributes)
    if dataset.name == "cifar10":
        pool_files = [(name, *formats.cifar(folder / name)) for name in CIFAR_TRAIN]
        test_files = [(CIFAR_TEST, *formats.cifar(folder / CIFAR_TEST))]
    elif dataset.name == "svhn":
        pool_files, test_files = (
            [(name, *formats.svhn(folder / name))] for name in (SVHN_TRAIN, SVHN_TEST)
        )
    else:
        pool_files, test_files = (
            [(f"{part}-images-idx3-ubyte", *formats.idx_pair(folder, part))]
            for part in ("train", "t10k")
        )
    return Raw(_Pixels(pool_files), _Pixels(test_files), known.classes, 0)


def combinations(attributes: Sequence[str]) -> tuple[str, ...]:
    """Names for all 2^n combinations of n attributes, in the order of their bits: none, A, B, A+B for [A, B]."""
    sets = (
        [name for bit, name in enumerate(attributes) if label >> bit & 1]
        for label in range(1 << len(attributes))
    )
    return tuple("+".join(names) or "none" for names in sets)


class _Pixels:
    """Images from one or several files, each an array, N x H x W or N x H x W x 3."""

    def __init__(self, parts: Sequence[tuple[str, Array, Labels]]) -> None:
        self.names, self.arrays, labels = zip(*parts, strict=True)
        self.labels: Labels | None = np.concatenate(labels)
        self.starts = [0, *itertools.accumulate(len(array) for array in self.arrays)]

    def __len__(self) -> int:
        return self.starts[-1]

    def name(self, index: int) -> str:
        part, position = self._locate(index)
        return f"{self.names[part]}[{position}]"

    def read(self, index: int) -> Array:
        part, position = self._locate(index)
        return np.array(self.arrays[part][position])

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return part, index - self.starts[part]


class _Archive:
    """An open zip that several threads may read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except archives.ZIP_ERRORS as error:
            raise DataError(
                f"{path}: is no zip file ({error}): run the stage that makes it"
            ) from error
        self.lock = threading.Lock()

    def read(self, name: str) -> bytes:
        try:
            with self.lock:
                content = self.zip.read(name)
        except archives.ZIP_ERRORS as error:
            raise Unreadable(f"is damaged in {self.path.name} ({error})") from error
        if not content:
            raise Unreadable("is empty")
        return content


class _Entries:
    """Encoded images in a zip, each with the name it is shown by and the name it has there."""

    def __init__(
        self,
        archive: _Archive,
        entries: Sequence[tuple[str, str]],
        labels: Labels | None = None,
        problems: dict[int, str] | None = None,
    ) -> None:
        self.archive, self.entries, self.labels, self.problems = (
            archive,
            entries,
            labels,
            problems or {},
        )

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        return self.entries[index][0]

    def read(self, index: int) -> bytes:
        if index in self.problems:
            raise Unreadable(self.problems[index])
        return self.archive.read(self.entries[index][1])


class _Database:
    """Encoded images in LSUN's database, in the order of their keys."""

    labels: Labels | None = None

    def __init__(self, environment: Any, keys: Sequence[bytes]) -> None:
        self.environment, self.keys = environment, keys

    def __len__(self) -> int:
        return len(self.keys)

    def name(self, index: int) -> str:
        return f"{LSUN_RAW}[{self.keys[index].decode('ascii', 'backslashreplace')}]"

    def read(self, index: int) -> bytes:
        with self.environment.begin() as transaction:
            content: bytes = transaction.get(self.keys[index], b"")
        if not content:
            raise Unreadable("is empty")
        return content


class _Shapes:
    """Generated shapes, drawn when they are read."""

    def __init__(self, count: int, size: int, channels: int, seed: int) -> None:
        from dcgan.raw import fake as shapes

        self.count, self.size, self.channels, self.seed = count, size, channels, seed
        self.labels: Labels | None = np.arange(count) % shapes.NUM_CLASSES
        self.draw_one = shapes.draw_one

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"fake[{index}]"

    def read(self, index: int) -> Array:
        image = self.draw_one(index, self.size, self.channels, self.seed)
        return image[0] if self.channels == 1 else image.transpose(1, 2, 0)


def _open_celeba(folder: Path, attributes: Sequence[str]) -> Raw:
    archive = _Archive(folder / CELEBA_ZIP)
    parts = formats.celeba(folder / CELEBA_ZIP, folder / CELEBA_PARTITION)
    labels = (
        formats.celeba_labels(folder / CELEBA_ATTRIBUTES, parts, attributes) if attributes else None
    )

    def entries(wanted: Sequence[int]) -> _Entries:
        names = [name for name, part in parts.items() if part in wanted]
        of_names = np.array([labels[name] for name in names], dtype=np.int64) if labels else None
        return _Entries(archive, [(name, name) for name in names], of_names)

    return Raw(
        entries(formats.POOL),
        entries(formats.TEST),
        combinations(attributes) if attributes else (),
        0,
    )


def _open_folder(folder: Path) -> Raw:
    listed = files.read_json(folder / FOLDER_LIST)
    archive = _Archive(folder / FOLDER_ZIP)
    # The zip has them in the order of the list.
    entries = list(
        zip([image["name"] for image in listed["images"]], archive.zip.namelist(), strict=True)
    )
    problems = {
        number: image["problem"]
        for number, image in enumerate(listed["images"])
        if "problem" in image
    }
    labels = (
        np.array([image["class"] for image in listed["images"]], dtype=np.int64)
        if listed["classes"]
        else None
    )
    return Raw(
        _Entries(archive, entries, labels, problems),
        None,
        tuple(listed["classes"]),
        listed["ignored"],
    )

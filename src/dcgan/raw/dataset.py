"""The facts about a data set that the catalog holds, and the form in which its images are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dcgan.config import sections

MIB, GIB = 1 << 20, 1 << 30
MINUTE, HOUR = 60, 3600
MAX_IMAGE_BYTES = 64 * MIB  # of one encoded image
# The endings of image files' names, with Pillow's names for their formats. An ending is a hint: the
# bytes decide. Not here are formats for which Pillow starts another program (EPS), which are no
# pictures of pixels (PDF, WMF, PSD, video), or which any bytes could be (TGA has no signature).
SUFFIXES = {
    ".png": "PNG", ".apng": "PNG",
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF",
    ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM",
    ".avif": "AVIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".jpx": "JPEG2000",
    ".ico": "ICO", ".pcx": "PCX", ".dds": "DDS", ".qoi": "QOI",
}  # fmt: skip
# The formats that may be opened, each once: what `PIL.Image.open` takes as `formats`.
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))

Pixels = npt.NDArray[np.uint8]  # H x W or H x W x 3, or N of these
Labels = npt.NDArray[np.int64]


class Unreadable(Exception):
    """An image whose bytes cannot be read; the text says why. The caller decides what to do."""


class Records(Protocol):
    """Images by number, with labels where there are any."""

    @property
    def labels(self) -> Labels | None:
        """Positions in the data set's classes, N; None where it has none."""

    @property
    def digests(self) -> Sequence[bytes] | None:
        """What names each image by its content, N; None where the data set never changes.

        With them, which split an image belongs to depends on the image and the seed alone.
        """

    def __len__(self) -> int:
        """The number of images."""

    def name(self, index: int) -> str:
        """What to call an image in a message."""

    def read(self, index: int) -> bytes | Pixels:
        """An encoded image file, or pixels, H x W or H x W x 3. Thread-safe; raises Unreadable."""


@dataclass
class Raw:
    """A data set as it was downloaded."""

    pool: Records  # everything outside the data set's own test split
    test: Records | None  # that split, where it has one
    classes: tuple[str, ...] = ()  # their names; () where there are no labels
    left_out: Mapping[str, int] = field(default_factory=dict)  # files that are no images, by suffix
    notes: tuple[str, ...] = ()  # what was guessed about the data, a sentence each, to be said
    files: tuple[str, ...] = ()  # sha256 of the raw files

    def said(self) -> list[str]:
        """The lines that a terminal shows: the notes, and how many files are no images."""
        if not self.left_out:
            return list(self.notes)
        return [*self.notes, f"left out: {counted(self.left_out)}: no images"]


def counted(files: Mapping[str, int]) -> str:
    """Numbers of files by suffix as text: "12 .txt, 1 without suffix"."""
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(files.items()))


@dataclass(frozen=True)
class File:
    """A file that a source serves."""

    names: tuple[str, ...]  # what it may be called; the first that is there is taken
    max_bytes: int = GIB
    seconds: float = 30 * MINUTE  # for the whole download, however slow the server is


@dataclass(frozen=True)
class Pin:
    """What one raw file must be."""

    size: int  # bytes
    sha256: str | None = None


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian that holds the files, compressed anew and so with digests of its own."""

    name: str
    folder: str  # of the files, below the root
    digests: Mapping[str, str]  # "algorithm:hex" by file name


# Makes the raw files out of what a source serves. Arguments: the folder with the served files, the
# folder for the raw files, pins by raw name (none for the user's own data), and those keys of the
# section `dataset` of params.yaml that say which files. Raises DataError for a file that is
# missing, damaged or not what it claims to be.
Unpack = Callable[[Path, Path, Mapping[str, Pin], sections.DatasetFiles], None]
# Opens the raw files. Arguments: their folder, the section `dataset` of params.yaml, and the seed
# for images that are drawn. Raises DataError as Unpack does.
Open = Callable[[Path, sections.Dataset, int], Raw]


@dataclass(frozen=True)
class DataSet:
    """One data set of the catalog."""

    # The files that a download leaves, beside the manifest; a * stands for the numbers of parts.
    raw: tuple[str, ...]
    unpack: Unpack
    open: Open
    licence: str  # what its publisher or others say of it, and where
    drawings: bool  # single bright things on black; False: photographs
    test_split: bool  # whether the publisher provides one; False: a folder may still have one
    classes: tuple[str, ...] = ()  # their names; () where there are none, or `open` finds them
    files: tuple[File, ...] = ()  # what a source serves
    mirrors: tuple[str, ...] = ()  # the publisher's own
    digests: Mapping[str, str] = field(default_factory=dict)  # "algorithm:hex" by served name
    pins: Mapping[str, Pin] = field(default_factory=dict)  # by raw name, of the publisher's files
    debian: DebianPackage | None = None
    by_hand: str = ""  # how the user gets the files, where no server can be asked
    labelled: "DataSet | None" = None  # the same set with the files that dataset.attributes needs
    # Those of `raw` whose bytes are compared image by image, when an image is read.
    verified_when_read: tuple[str, ...] = ()
    fetched: Callable[[sections.DatasetFiles], None] = lambda dataset: None  # called at the end

    def raw_files(self, folder: Path) -> list[str]:
        """The names of the raw files in a folder: those without parts, and all parts there are."""
        return [
            name
            for pattern in self.raw
            for name in (
                sorted(path.name for path in folder.glob(pattern)) if "*" in pattern else [pattern]
            )
        ]

"""A folder of the user's own images: packed as one zip with plain names and a list of them."""

import errno
import hashlib
import io
import os
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dcgan import files
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import archives, layout, readers
from dcgan.raw.dataset import (
    FORMATS,
    MAX_IMAGE_BYTES,
    MIB,
    SUFFIXES,
    DataSet,
    Pin,
    Raw,
    counted,
)  # fmt: skip

ZIP, LIST = "images.zip", "images.json"
NUM_SHOWN = 10  # links in one sentence
HIDDEN = ("thumbs.db", "desktop.ini")  # what Windows puts into folders of pictures
# Endings that say plainly that a file is no image: such files are not opened.
NOT_IMAGES = (
    ".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm",
    ".pdf", ".svg", ".eps", ".ps", ".ini", ".log", ".py", ".doc", ".docx", ".xls", ".xlsx",
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar",
    ".npy", ".npz", ".mat", ".pt", ".pth", ".pkl", ".h5", ".hdf5", ".db", ".mdb", ".parquet",
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mp3", ".wav",
)  # fmt: skip
WITHOUT = "without suffix"  # what stands for a suffix in counts
# Pictures that are not read: their owner should hear of a way.
CONVERT = (".heic", ".heif", ".jxl", ".tga", ".psd")


@dataclass
class Found:
    """What lies below the source."""

    paths: list[str] = field(default_factory=list)  # possible images, below the source
    left_out: Counter[str] = field(default_factory=Counter)  # other files, by suffix
    not_followed: dict[str, str] = field(default_factory=dict)  # links and the reason


def pack(source: Path, folder: Path) -> None:
    """Put every image below `source` into `folder`: `images.zip`, and their list, `images.json`.

    An image is a file whose first bytes are those of a format in FORMATS, whatever its name. Files
    whose suffix is in NOT_IMAGES are not looked into. A file with an image's suffix that holds
    none, is a broken link, cannot be read, is no regular file or has over 64 MiB is listed with a
    `problem` and no bytes, so that the next stage can name it. Other files are counted by their
    suffix. Files and folders whose names begin with a dot, and those in HIDDEN, are skipped.

    Linked files are read and linked folders followed, except for loops: folders that lie in
    themselves.

    Order is by the bytes of the paths, and equal files give an equal zip: it has no times and no
    compression. Memory is that of one image and the list of names.

    Args:
        source: the folder, only read.
        folder: where both files go. `images.zip` has `0000000.png` and so on, the suffix as in the
            name, in small letters, where it is one of an image; `images.json` the keys `images`, a
            list with `name` (the path below `source`, what cannot be printed escaped), `sha256` of
            its bytes (null with a problem) and perhaps `problem`; `left_out`, numbers by suffix;
            `not_followed`, reasons by link. Nothing in them depends on params.yaml.

    Raises:
        DataError: `source` is a file; no image is there; or a folder cannot be read.
    """
    if source.is_file():
        raise DataError(
            f"{source}: is a file, expected the folder with the images: unpack it, if it is an"
            " archive, and set dataset.source to the folder"
        )
    found = find(source)
    entries: list[dict[str, Any]] = []
    with (
        files.replacing(folder / ZIP) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
    ):
        # By bytes, as no setting of the language changes them.
        for path in sorted(found.paths, key=os.fsencode):
            content, problem = _examine(source / path)
            if content is None:
                found.left_out[suffix(path)] += 1
                continue
            known = suffix(path) if suffix(path) in SUFFIXES else ""
            archives.store(archive, f"{len(entries):07d}{known}", content)
            digest = None if problem else hashlib.sha256(content).hexdigest()
            entry = {"name": printable(path), "sha256": digest}
            entries.append({**entry, "problem": problem} if problem else entry)
    if not entries:
        others = counted(found.left_out) or "none"
        raise DataError(
            f"0 images found in {source} (other files: {others}): need at least 3;"
            f" check dataset.source{advice(found.left_out)}"
        )
    listed = {
        "images": entries,
        "left_out": found.left_out,
        "not_followed": found.not_followed,
    }
    files.write_json(folder / LIST, listed)


def printable(name: str) -> str:
    r"""A file's name as one line of text; different names give different texts.

    Bytes that are no UTF-8 become \x.., characters that cannot be printed become \n, \u.... and the
    like, and a backslash becomes two.
    """
    text = os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    # Beyond ASCII not \\x.., which stands for bytes that are no UTF-8.
    return letter.encode("unicode_escape").decode() if letter.isascii() else f"\\u{ord(letter):04x}"


def find(source: Path) -> Found:
    """What lies below a folder of images: nothing is opened, and links are followed as in `pack`.

    Raises:
        DataError: a folder cannot be read.
    """
    found = Found()
    _walk(source, "", (), found)
    return found


def _walk(source: Path, below: str, above: tuple[str, ...], found: Found) -> None:
    """Note all files of one folder and, again, of its folders.

    Args:
        source: the whole folder.
        below: the path of this one in it; with a / at the end, or empty.
        above: the real paths of the folders in which it lies.
        found: what to fill.
    """
    here = source / below
    try:
        above = (*above, os.path.realpath(here))
        entries = sorted(os.scandir(here), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise DataError(
            f"{printable(os.fspath(here))}: the folder cannot be read ({error.strerror}):"
            " check dataset.source and the rights"
        ) from error
    for entry in entries:
        path = f"{below}{entry.name}"
        if entry.name.startswith(".") or entry.name.lower() in HIDDEN:
            continue
        # A link is looked through; of others the kind is known without asking the disk again.
        linked = entry.is_symlink()
        if Path(entry.path).is_dir() if linked else entry.is_dir():
            if os.path.realpath(entry.path) in above:
                found.not_followed[printable(path)] = "leads to a folder in which it lies"
            else:
                _walk(source, f"{path}/", above, found)
        elif suffix(path) in NOT_IMAGES:
            found.left_out[suffix(path)] += 1
        elif linked and not Path(entry.path).exists() and suffix(path) not in SUFFIXES:
            # It may have led to a folder of images.
            found.not_followed[printable(path)] = "leads nowhere"
        else:
            found.paths.append(path)


def suffix(path: str) -> str:
    """The suffix in small letters, what cannot be printed escaped; WITHOUT where there is none."""
    return printable(Path(path).suffix.lower()) or WITHOUT


def _examine(path: Path) -> tuple[bytes | None, str]:
    """An image's bytes and an empty text; no bytes and what is wrong with it; or None: no image."""
    named = suffix(path.name) in SUFFIXES
    try:
        # Before it is opened: opening a pipe would wait for ever.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"" if named else None, "is no regular file"
        if status.st_size > MAX_IMAGE_BYTES:
            return b"" if named else None, f"has more than {MAX_IMAGE_BYTES // MIB} MiB"
        with open(path, "rb") as file:
            content = file.read(status.st_size)
    except OSError as error:
        broken = error.errno == errno.ENOENT and path.is_symlink()
        return b"", "is a broken link" if broken else f"cannot be read ({error.strerror})"
    if _is_image(content):
        return content, ""
    problem = f"begins no readable {', '.join(FORMATS)}" if content else "is empty"
    return b"" if named else None, problem


def _is_image(content: bytes) -> bool:
    """Whether the first bytes are those of an image; whether it can be decoded is another thing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        try:
            Image.open(io.BytesIO(content), formats=FORMATS).close()
        except UnidentifiedImageError:
            return False
        except Exception:  # of a kind that Pillow knows, but large or damaged: prepare says how
            return True
    return True


def advice(left_out: Mapping[str, int]) -> str:
    """What to do where pictures of other formats are there."""
    others = [suffix for suffix in CONVERT if suffix in left_out]
    return f"; to use {', '.join(others)}, save them as PNG or JPEG" if others else ""


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    pack(served, target)


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    """The images in the order of their digests, so that other names of the files change nothing."""
    listed = files.read_json(folder / LIST)
    archive = readers.OpenZip(folder / ZIP)
    # The zip has them in the order of the list.
    images = sorted(
        zip(listed["images"], archive.zip.namelist(), strict=True),
        key=lambda image: (image[0]["sha256"] or "", image[0]["name"]),
    )
    arranged = layout.arrange(
        [image["name"] for image, _ in images],
        [image["sha256"] is not None for image, _ in images],
        class_folders=dataset.class_folders,
        own_test=dataset.test_size == 0,
    )

    def records(chosen: list[int]) -> readers.ZipRecords:
        of_split = [images[number] for number in chosen]
        labels = [arranged.labels[number] for number in chosen] if arranged.classes else None
        return readers.ZipRecords(
            archive,
            [(image["name"], member) for image, member in of_split],
            None if labels is None else np.array(labels, dtype=np.int64),
            {
                number: image["problem"]
                for number, (image, _) in enumerate(of_split)
                if "problem" in image
            },
            [bytes.fromhex(image["sha256"] or "") for image, _ in of_split],
        )

    links = [f"{name} {why}" for name, why in listed["not_followed"].items()]
    if len(links) > NUM_SHOWN:
        links = [*links[:NUM_SHOWN], f"and {len(links) - NUM_SHOWN} more"]
    not_followed = [f"links that are not followed: {', '.join(links)}"] if links else []
    convert = advice(listed["left_out"])
    return Raw(
        records(arranged.pool),
        None if arranged.test is None else records(arranged.test),
        arranged.classes,
        listed["left_out"],
        (*arranged.notes, *not_followed, *([convert.removeprefix("; ")] if convert else [])),
    )


FOLDER = DataSet(
    raw=(ZIP, LIST),
    unpack=_unpack,
    open=_open,
    licence="unknown: images of your own; their licence is for you to know",
    drawings=False,
    test_split=False,
)

"""A folder of the user's own images: packed as one zip with plain names and a list of them."""

import errno
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcgan import files
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import readers
from dcgan.raw.dataset import MAX_IMAGE_BYTES, MIB, SUFFIXES, DataSet, Pin, Raw

ZIP, LIST = "images.zip", "images.json"


def pack(source: Path, folder: Path, *, class_folders: bool, at_least: int) -> None:
    """Put every image below `source` into `folder`: `images.zip`, and their list, `images.json`.

    Images are files whose names end in .png .jpg .jpeg .webp .bmp .gif .tif or .tiff, in capitals
    or not; other files are counted. Files and folders whose names begin with a dot, and Thumbs.db,
    are skipped and not counted. Linked files are read, linked folders not followed. A broken link,
    a file that cannot be read or is no regular one, and one over 64 MiB are listed with a `problem`
    and no bytes, so that the next stage can name them.

    The folders directly below `source` are classes if at least two of them hold images, no image
    lies beside them and `class_folders` is true; otherwise no image has a class.

    Order is by the bytes of the paths, and equal files give an equal zip: it has no times and no
    compression. Memory is that of one image and the list of names.

    Args:
        source: the folder, only read.
        folder: where both files go. `images.zip` has `0000000.png` and so on, the suffix as in the
            name, in small letters; `images.json` the keys `classes`, names; `images`, a list with
            `name` (the path below `source`, what cannot be printed escaped), `class` (a position in
            `classes`, or null) and perhaps `problem`; `ignored`, the number of other files.
        class_folders: whether folders may be classes.
        at_least: images that the error for an empty folder asks for.

    Raises:
        DataError: no image is there, or a folder cannot be read.
    """
    paths, ignored = _walk(source)
    if not paths:
        raise DataError(
            f"0 images found in {source} ({ignored} other files): need at least {at_least};"
            " check dataset.source"
        )
    classes = _classes(paths) if class_folders else []
    positions = {name: position for position, name in enumerate(classes)}
    entries: list[dict[str, Any]] = []
    with (
        files.replacing(folder / ZIP) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
    ):
        for number, path in enumerate(paths):
            content, problem = _content(source / path)
            entry = zipfile.ZipInfo(f"{number:07d}{_suffix(path)}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
            label = positions[path.split("/")[0]] if classes else None
            entries.append(
                {
                    "name": printable(path),
                    "class": label,
                    **({"problem": problem} if problem else {}),
                }
            )
    names = [printable(name) for name in classes]
    files.write_json(folder / LIST, {"classes": names, "images": entries, "ignored": ignored})


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


def _walk(source: Path) -> tuple[list[str], int]:
    """The images' paths below `source`, sorted, and the number of other files."""

    def refuse(error: OSError) -> None:
        folder = printable(os.fspath(error.filename))
        raise DataError(
            f"{folder}: the folder cannot be read ({error.strerror}):"
            " check dataset.source and the rights"
        ) from error

    images, ignored = [], 0
    for parent, folders, names in os.walk(source, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen = [name for name in names if not name.startswith(".") and name.lower() != "thumbs.db"]
        here = [str(Path(parent, name).relative_to(source)) for name in seen if _suffix(name)]
        images += here
        ignored += len(seen) - len(here)
    # By bytes, as no setting of the language changes them.
    return sorted(images, key=os.fsencode), ignored


def _classes(paths: list[str]) -> list[str]:
    tops = sorted({path.split("/")[0] for path in paths}, key=os.fsencode)
    return tops if len(tops) > 1 and all("/" in path for path in paths) else []


def _suffix(path: str) -> str:
    """The image's suffix in small letters, or nothing."""
    suffix = Path(path).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _content(path: Path) -> tuple[bytes, str]:
    """A file's bytes and an empty text, or no bytes and the reason."""
    try:
        # Before it is opened: opening a pipe would wait for ever.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", "is no regular file"
        if status.st_size > MAX_IMAGE_BYTES:
            return b"", f"has more than {MAX_IMAGE_BYTES // MIB} MiB"
        with open(path, "rb") as file:
            return file.read(status.st_size), ""
    except OSError as error:
        broken = error.errno == errno.ENOENT and path.is_symlink()
        return b"", "is a broken link" if broken else f"cannot be read ({error.strerror})"


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    pack(served, target, class_folders=True, at_least=1)


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    listed = files.read_json(folder / LIST)
    images = listed["images"]
    archive = readers.OpenZip(folder / ZIP)
    # The zip has them in the order of the list.
    entries = [
        (image["name"], member)
        for image, member in zip(images, archive.zip.namelist(), strict=True)
    ]
    problems = {
        number: image["problem"] for number, image in enumerate(images) if "problem" in image
    }
    labels = None
    if listed["classes"]:
        labels = np.array([image["class"] for image in images], dtype=np.int64)
    pool = readers.ZipRecords(archive, entries, labels, problems)
    return Raw(pool, None, tuple(listed["classes"]), {"other": listed["ignored"]})


FOLDER = DataSet(
    raw=(ZIP, LIST),
    unpack=_unpack,
    open=_open,
    licence="unknown: images of your own; their licence is for you to know",
    drawings=False,
    test_split=False,
)

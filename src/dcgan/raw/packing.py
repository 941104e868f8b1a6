"""A folder of the user's own images: packed as zips with plain names, and a list of each.

The folder is walked once, file after file, and packed in parts. A part is the unit of restart: it
is kept in a folder that outlives a killed run.
"""

import errno
import hashlib
import io
import itertools
import os
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from dcgan import files
from dcgan.errors import DataError
from dcgan.raw import archives, links
from dcgan.raw.dataset import FORMATS, MAX_IMAGE_BYTES, MIB, SUFFIXES, counted

LIST = "images.json"
PART_FILES, PART_BYTES = 2**16, 2**30  # of the source that a part takes, at most
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
    """What lies below the source, beside the files that may be images."""

    left_out: Counter[str] = field(default_factory=Counter)  # other files, by suffix
    not_followed: dict[str, str] = field(default_factory=dict)  # links and the reason


@dataclass(frozen=True)
class Part:
    """Files that are packed together: a run of them, in the order of the walk."""

    number: int
    paths: list[str]  # below the source
    state: str  # hash of their paths, sizes and times


def zip_name(number: int) -> str:
    """The file that has the images of a part."""
    return f"images-{number:05d}.zip"


def list_name(number: int) -> str:
    """The file that says what the images of a part are."""
    return f"images-{number:05d}.json"


def member(position: int, name: str) -> str:
    """What an image is called in its zip: its position there, and its suffix if it is known."""
    return f"{position:07d}{suffix(name) if suffix(name) in SUFFIXES else ''}"


def offset(member_name: str) -> int:
    """Bytes from the header of a member of our zips to its content."""
    return 30 + len(member_name)  # the fixed part, and the name: there is no extra field


def pack(
    source: Path,
    folder: Path,
    kept: Path,
    on_part: Callable[[int, int], None] = lambda parts, images: None,
) -> None:
    """Put every image below `source` into `folder`, in zips, with a list of each.

    An image is a file whose first bytes are those of a format in FORMATS, whatever its name. Files
    whose suffix is in NOT_IMAGES are not looked into. A file with an image's suffix that holds
    none, is a broken link, cannot be read, is no regular file or has over 64 MiB is listed with a
    `problem` and no bytes, so that the next stage can name it. Other files are counted by their
    suffix. Files and folders whose names begin with a dot, and those in HIDDEN, are skipped.

    Linked files are read and linked folders followed, except for loops: folders that lie in
    themselves.

    Order is by the bytes of the paths, and equal files give equal zips: they have no times and no
    compression. Memory is that of one image, the list of a part, and the names in one folder.

    Args:
        source: the folder, only read.
        folder: where the files go. `images-00000.zip` has `0000000.png` and so on, the suffix as in
            the name, in small letters, where it is one of an image; `images-00000.json` the keys
            `images`, a list with `name` (the path below `source`, what cannot be printed escaped),
            `size`, `sha256` of the bytes (null with a problem) and perhaps `problem`, and
            `left_out`, numbers by suffix of what was looked into. `images.json` has `parts`, their
            number; `left_out`, of all files; `not_followed`, reasons by link. Nothing in them
            depends on params.yaml.
        kept: a folder for the parts that are done: a run that is started again after it was killed
            packs only what is missing or whose files have changed since.
        on_part: called after each part with the number of parts and of images so far.

    Raises:
        DataError: `source` is a file; no image is there; or a folder cannot be read.
    """
    if source.is_file():
        raise DataError(
            f"{source}: is a file, expected the folder with the images: unpack it, if it is an"
            " archive, and set dataset.source to the folder"
        )
    found, images, count = Found(), 0, 0
    for part in _parts(source, walk(source, found)):
        if not _is_done(kept, part):
            _write(source, kept, part)
        listed = files.read_json(kept / list_name(part.number))
        found.left_out.update(listed["left_out"])
        images, count = images + len(listed["images"]), part.number + 1
        on_part(count, images)
    if not images:
        others = counted(found.left_out) or "none"
        raise DataError(
            f"0 images found in {source} (other files: {others}): need at least 3;"
            f" check dataset.source{advice(found.left_out)}"
        )
    for number in range(count):
        for name in (zip_name(number), list_name(number)):
            links.second_name(kept / name, folder / name)
    listed = {"parts": count, "left_out": found.left_out, "not_followed": found.not_followed}
    files.write_json(folder / LIST, listed)


def _parts(source: Path, paths: Iterator[str]) -> Iterator[Part]:
    """Runs of files, each as long as PART_FILES and PART_BYTES allow."""
    numbers = itertools.count()
    taken: list[str] = []
    state, size = hashlib.sha256(), 0
    for path in paths:
        try:
            status = (source / path).stat()
            facts = (status.st_size, status.st_mtime_ns)
        except OSError:
            facts = (0, 0)  # a broken link, say: it is listed with its problem
        if taken and (len(taken) == PART_FILES or size + facts[0] > PART_BYTES):
            yield Part(next(numbers), taken, state.hexdigest())
            taken, state, size = [], hashlib.sha256(), 0
        taken.append(path)
        state.update(os.fsencode(path) + f"\0{facts}\0".encode())
        size += facts[0]
    if taken:
        yield Part(next(numbers), taken, state.hexdigest())


def _is_done(kept: Path, part: Part) -> bool:
    """Whether an earlier run has packed these files as they are now."""
    try:
        return _mark(kept, part).read_text() == part.state
    except OSError:
        return False


def _mark(kept: Path, part: Part) -> Path:
    """The file that says of which files a part was made; written last, it marks it as done."""
    return kept / f"{list_name(part.number)}.done"


def _write(source: Path, kept: Path, part: Part) -> None:
    entries: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    _mark(kept, part).unlink(missing_ok=True)
    with (
        files.replacing(kept / zip_name(part.number)) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
    ):
        for path in part.paths:
            content, problem = _examine(source / path)
            if content is None:
                left_out[suffix(path)] += 1
                continue
            archives.store(archive, member(len(entries), path), content)
            digest = None if problem else hashlib.sha256(content).hexdigest()
            entry = {"name": printable(path), "size": len(content), "sha256": digest}
            entries.append({**entry, "problem": problem} if problem else entry)
    files.write_json(kept / list_name(part.number), {"images": entries, "left_out": left_out})
    files.write_text(_mark(kept, part), part.state)


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


def walk(source: Path, found: Found) -> Iterator[str]:
    """The files below a folder that may be images, by the bytes of their paths.

    Nothing is opened, and links are followed as in `pack`.

    Args:
        source: the folder.
        found: is told of what else is there.

    Yields:
        Paths below `source`.

    Raises:
        DataError: a folder cannot be read.
    """
    yield from _walk(source, "", (), found)


def _walk(source: Path, below: str, above: tuple[str, ...], found: Found) -> Iterator[str]:
    """The files of one folder and of its folders.

    Args:
        source: the whole folder.
        below: the path of this one in it; with a / at the end, or empty.
        above: the real paths of the folders in which it lies.
        found: is told of what else is there.
    """
    here = source / below
    try:
        above = (*above, os.path.realpath(here))
        entries = sorted(map(_entry, os.scandir(here)))
    except OSError as error:
        raise DataError(
            f"{printable(os.fspath(here))}: the folder cannot be read ({error.strerror}):"
            " check dataset.source and the rights"
        ) from error
    for name, linked in entries:
        path = below + os.fsdecode(name)
        plain = os.fsdecode(name).removesuffix("/")
        if plain.startswith(".") or plain.lower() in HIDDEN:
            continue
        if name.endswith(b"/"):
            if linked and os.path.realpath(source / path) in above:
                found.not_followed[printable(path.removesuffix("/"))] = (
                    "leads to a folder in which it lies"
                )
            else:
                yield from _walk(source, path, above, found)
        elif suffix(path) in NOT_IMAGES:
            found.left_out[suffix(path)] += 1
        elif linked and suffix(path) not in SUFFIXES and not (source / path).exists():
            # It may have led to a folder of images.
            found.not_followed[printable(path)] = "leads nowhere"
        else:
            yield path


def _entry(entry: "os.DirEntry[str]") -> tuple[bytes, bool]:
    """A name, with a / at the end if it is a folder's, and whether it is a link.

    With the / such names have the order that the paths have which begin with them.
    """
    # A link is looked through; of others the kind is known without asking the disk again.
    linked = entry.is_symlink()
    is_folder = Path(entry.path).is_dir() if linked else entry.is_dir()
    return os.fsencode(entry.name) + (b"/" if is_folder else b""), linked


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

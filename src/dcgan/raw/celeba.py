"""CelebA: 178 x 218 RGB photographs of faces, with a partition file and forty attributes."""

import difflib
import os
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dcgan import files
from dcgan.config import sections
from dcgan.errors import ConfigError, DataError
from dcgan.raw import archives, readers, unpacking
from dcgan.raw.dataset import GIB, HOUR, MAX_IMAGE_BYTES, MIB, DataSet, File, Pin, Raw

ZIP = "img_align_celeba.zip"
PARTITION, ATTRIBUTES = "list_eval_partition.txt", "list_attr_celeba.txt"
MAX_TEXT_BYTES = 64 * MIB  # of the partition file and of the attribute file
PICTURES = "img_align_celeba"  # the folder in the zip
# Where the pictures lie in the zips and folders that are about, the publisher's way first.
PREFIXES = (f"{PICTURES}/", f"{PICTURES}/{PICTURES}/", "")
POOL, TEST = (0, 1), (2,)  # the publisher's partitions: train and validation; test


def combinations(attributes: Sequence[str]) -> tuple[str, ...]:
    """Names of all 2^n combinations, in the order of their bits: none, A, B, A+B for [A, B]."""
    sets = (
        [name for bit, name in enumerate(attributes) if label >> bit & 1]
        for label in range(1 << len(attributes))
    )
    return tuple("+".join(names) or "none" for names in sets)


def partitions(images: Path, partition: Path) -> dict[str, int]:
    """The partition of each member of CelebA's zip, in the order of the partition file.

    Raises:
        DataError: a file is damaged or another one, or the zip lacks a member; no picture is
            decoded for that.
    """
    parts: dict[str, int] = {}
    for number, line in enumerate(_lines(partition), start=1):
        match = re.fullmatch(r"(\d{6}\.jpg) +([012]) *", line, re.ASCII)
        if not match or match[1] in parts:
            problem = "comes twice" if match else "expected e.g. '000001.jpg 0'"
            raise DataError(
                f"{partition}: line {number}: {line[:40]!r}: {problem}: get the file again"
            )
        parts[match[1]] = int(match[2])
    for needed, text in ((POOL, "0 or 1"), (TEST, "2")):
        if not set(needed) & set(parts.values()):
            raise DataError(f"{partition}: has no image of partition {text}: is it the right file?")
    with archives.open_zip(images) as (_, entries):
        first = next(iter(parts))
        prefix = next((each for each in PREFIXES if each + first in entries), PREFIXES[0])
        members = {f"{prefix}{name}": part for name, part in parts.items()}
        sizes = {name: entry.file_size for name, entry in entries.items()}
        _check_entries(images, sizes, members, partition)
    return members


def attribute_labels(
    path: Path, parts: Collection[str], attributes: Sequence[str]
) -> dict[str, int]:
    """Labels out of CelebA's attribute file, `list_attr_celeba.txt`.

    Its first line is the number of images, the second the names of the attributes, each other one
    an image's name and a value for each attribute, 1 (present) or -1.

    Args:
        path: the file.
        parts: the members that `partitions` returns: the file must have exactly these images, in
            any order.
        attributes: names out of the second line.

    Returns:
        By member, in the order of `parts`, the sum of 2^i over the attributes i that are present: 0
        to 2^len(attributes) - 1.

    Raises:
        DataError: the file is truncated, damaged or another one, or is not of these images.
        ConfigError: it has no such attribute.
    """
    lines = _lines(path)
    stated = lines[0].strip() if lines else ""
    names = lines[1].split() if lines[1:] else []
    rows = lines[2:]
    if not re.fullmatch(r"\d{1,9}", stated, re.ASCII):
        raise DataError(
            f"{path}: line 1: {stated[:40]!r}: expected the number of images, e.g. '202599':"
            " is it the right file?"
        )
    if (
        not names
        or len(set(names)) < len(names)
        or not all(re.fullmatch(r"\w+", name, re.ASCII) for name in names)
    ):
        raise DataError(
            f"{path}: line 2: expected the attributes' names, each once: is it the right file?"
        )
    columns = [_column(path, names, attribute) for attribute in attributes]
    members = {member.rpartition("/")[2]: member for member in parts}
    labels: dict[str, int] = {}
    for number, row in enumerate(rows, start=3):
        image, *values = row.split() or [""]
        member = members.get(image, "")
        if len(values) != len(names) or not set(values) <= {"1", "-1"}:
            problem = f"expected a name and {len(names)} values of 1 or -1"
        elif not member:
            problem = f"{PARTITION} has no such image"
        elif member in labels:
            problem = "comes twice"
        else:
            labels[member] = sum(
                1 << bit for bit, column in enumerate(columns) if values[column] == "1"
            )
            continue
        raise DataError(f"{path}: line {number}: {row[:40]!r}: {problem}: get the file again")
    if not int(stated) == len(labels) == len(parts):
        raise DataError(
            f"{path}: line 1 says {int(stated)} images, {len(labels)} follow,"
            f" {PARTITION} has {len(parts)}: must be the same number: get both again"
        )
    return {member: labels[member] for member in parts}


def _column(path: Path, names: list[str], attribute: str) -> int:
    if attribute not in names:
        # In small letters: all of the names have capitals, which are easily forgotten.
        by_small = {name.lower(): name for name in names}
        close = difflib.get_close_matches(attribute.lower(), by_small, n=1)
        hint = (
            f"did you mean {by_small[close[0]]}?"
            if close
            else f"it has {', '.join(names[:5])} and {len(names[5:])} more"
        )
        raise ConfigError(
            f"params.yaml: dataset.attributes: {path.name} has no {attribute}: {hint}"
        )
    return names.index(attribute)


def _lines(path: Path) -> list[str]:
    if readers.size_of(path) > MAX_TEXT_BYTES:
        raise DataError(f"{path}: has more than {MAX_TEXT_BYTES} bytes: is it the right file?")
    return path.read_text(encoding="latin-1").splitlines()


def _check_entries(
    images: Path, sizes: dict[str, int], listed: Collection[str], partition: Path
) -> None:
    missing = [name for name in listed if name not in sizes]
    if missing:
        raise DataError(
            f"{images}: has no {missing[0]}"
            f" ({len(missing)} of {partition.name}'s names are missing): get both again"
        )
    large = [name for name in listed if sizes[name] > MAX_IMAGE_BYTES]
    if large:
        raise DataError(
            f"{images}: {large[0]} has {sizes[large[0]]} bytes,"
            f" more than the allowed {MAX_IMAGE_BYTES}: refused"
        )


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    """The zip stays as it is; its directory must have what the partition file names.

    A folder may also have the pictures unpacked, and tables with commas, as Kaggle gives them: what
    is kept is a zip and the publisher's text all the same.
    """
    for file in (LABELLED if dataset.attributes else CELEBA).files:
        name = file.names[0]
        table = served / f"{Path(name).stem}.csv"
        if not os.path.lexists(served / name) and name == ZIP:
            _pack(_pictures(served), target / ZIP)
        elif not os.path.lexists(served / name) and os.path.lexists(table):
            files.write_text(target / name, _from_csv(table, counted=name == ATTRIBUTES))
        else:
            archives.copy(unpacking.find(served, name), target / name, file.max_bytes)
    parts = partitions(target / ZIP, target / PARTITION)
    if dataset.attributes:
        attribute_labels(target / ATTRIBUTES, parts, dataset.attributes)


def _pictures(served: Path) -> list[Path]:
    """The unpacked pictures, by name, in the first of their folders that has any."""
    for prefix in PREFIXES:
        # Of a folder that is missing or cannot be read `glob` gives nothing.
        if pictures := sorted((served / prefix).glob("[0-9]*.jpg")):
            return pictures
    raise DataError(f"{ZIP} is missing, and so is a folder {PICTURES} with its pictures")


def _pack(pictures: Sequence[Path], target: Path) -> None:
    """A zip as the publisher's, but not compressed, which JPEGs are already."""
    with files.replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in pictures:
            if not path.is_file() or readers.size_of(path) > MAX_IMAGE_BYTES:
                raise DataError(
                    f"{path}: is no file, or has more than {MAX_IMAGE_BYTES} bytes: repair it"
                )
            try:
                archives.store(archive, f"{PREFIXES[0]}{path.name}", path.read_bytes())
            except PermissionError as error:
                raise DataError(f"{path}: cannot be read: check its rights") from error


def _from_csv(path: Path, *, counted: bool) -> str:
    """A table of Kaggle's as the publisher writes it.

    Args:
        path: the table; its first line has names, image_id first.
        counted: whether the publisher begins with the number of images and the names of columns, as
            in the file of attributes.
    """
    head, *rows = _lines(path) or [""]
    first, *names = head.split(",")
    if first != "image_id":
        raise DataError(
            f"{path}: line 1: {head[:40]!r}: expected names, image_id first: is it the right file?"
        )
    for number, row in enumerate(rows, start=2):
        if row.count(",") != len(names) or " " in row.strip():
            raise DataError(
                f"{path}: line {number}: {row[:40]!r}: expected an image's name and {len(names)}"
                " values: get the file again"
            )
    lines = [row.replace(",", " ") for row in rows]
    if counted:
        lines = [str(len(rows)), " ".join(names), *lines]
    return "\n".join(lines) + "\n"


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    archive = readers.OpenZip(folder / ZIP)
    parts = partitions(folder / ZIP, folder / PARTITION)
    labels: dict[str, int] = {}
    if dataset.attributes:
        labels = attribute_labels(folder / ATTRIBUTES, parts, dataset.attributes)

    def records(of_split: Sequence[int]) -> readers.ZipRecords:
        names = [name for name, part in parts.items() if part in of_split]
        of_names = np.array([labels[name] for name in names], dtype=np.int64) if labels else None
        return readers.ZipRecords(archive, [(name, name) for name in names], of_names)

    classes = combinations(dataset.attributes) if dataset.attributes else ()
    return Raw(records(POOL), records(TEST), classes)


_BOTH = (
    f"{ZIP} (md5 00d2c5bc6d35e252742224ab0c1e8fcb)",
    f"{PARTITION} (md5 d32c9cbf5e040fd4025c592c306e6668)",
)
_THIRD = f"{ATTRIBUTES} (md5 75e246fa4810816ffd6ee81facbd244c)"
_FROM = (
    "from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and set dataset.source to the folder or"
    " https URL that holds"
)
_UNLABELLED = DataSet(
    raw=(ZIP, PARTITION),
    unpack=_unpack,
    open=_open,
    licence=(
        "for non-commercial research only, under the publisher's agreement"
        " (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)"
    ),
    drawings=False,
    test_split=True,
    files=(File((ZIP,), 4 * GIB, HOUR), File((PARTITION,), MAX_TEXT_BYTES)),
    by_hand=f"get {' and '.join(_BOTH)} {_FROM} both",
)
# With dataset.attributes: labels are made of the published attributes.
LABELLED = replace(
    _UNLABELLED,
    raw=(*_UNLABELLED.raw, ATTRIBUTES),
    files=(*_UNLABELLED.files, File((ATTRIBUTES,), MAX_TEXT_BYTES)),
    by_hand=f"get {', '.join(_BOTH)} and {_THIRD} {_FROM} all three",
)
CELEBA = replace(_UNLABELLED, labelled=LABELLED)

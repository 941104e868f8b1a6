"""The prepared folder: shards of pixels, and for each split which of their images it has.

Another seed or another size of a split gives other lists of numbers; the pixels stay. On disk and
in pictures images are uint8, 0 to 255; inside the networks float32 in [-1, 1].
"""

import functools
import hashlib
import io
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dcgan import files, rng
from dcgan.errors import DataError

SPLITS = ("train", "validation", "test")
SHARD_BYTES, SHARD_IMAGES = 2**27, 2**16  # of pixels, at most; the shorter of the two
BANK = 200_000  # train images that the figures and the extractor are made of, at most
UNKNOWN = "unknown"  # licence or source
READS_AT_ONCE = 16  # of images that are in no mapped file
SKETCH, SKETCH_DIGITS = 64, 12  # hashes in a sketch, and their length

Images = npt.NDArray[np.uint8]
OpenShard = Callable[[Path, Mapping[str, Any]], "Pixels"]
Labels = npt.NDArray[np.int64]


class Pixels(Protocol):
    """The images of one file: a mapped array, or what reads them one by one."""

    shape: tuple[int, ...]
    dtype: Any
    nbytes: int

    def __len__(self) -> int:
        """The number of images."""

    def __getitem__(self, place: int) -> npt.NDArray[Any]:
        """One image, C x H x W; a negative number counts from the end."""


class Rows:
    """Images of several shards, which are mapped: only what is asked for is read.

    Args:
        shards: each of images of the same shape; all of them arrays, or none.
        positions: N numbers that count the images of all shards, in the shards' order.
    """

    def __init__(self, shards: Sequence[Pixels], positions: npt.NDArray[Any]) -> None:
        self._shards, self._positions = shards, positions
        self._ends = np.cumsum([len(shard) for shard in shards])
        self.shape = (len(positions), *shards[0].shape[1:])
        self.dtype, self.ndim = shards[0].dtype, len(self.shape)
        self.nbytes = self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """The images of some rows, in memory; of one number its image, C x H x W.

        What numpy takes as an index is taken here, as long as a tuple begins with several rows.
        """
        if isinstance(index, int | np.integer):
            (image,) = self[[int(index)]]
            return np.asarray(image)
        if isinstance(index, tuple):
            return self[index[0]][:, *index[1:]]
        places = self._positions[index]
        return self.gather(places, np.empty((len(places), *self.shape[1:]), self.dtype))

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All of them, in memory."""
        return np.asarray(self[:], dtype)

    def take(
        self, indices: npt.NDArray[Any], axis: int, out: npt.NDArray[Any], mode: str
    ) -> npt.NDArray[Any]:
        """What `np.take` calls: fill `out`, len(indices) x C x H x W, with these rows."""
        assert (axis, mode) == (0, "clip"), "other ways are not needed"
        return self.gather(self._positions[indices], out)

    def gather(self, places: npt.NDArray[Any], out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Fill `out` with the images at these positions in the shards."""
        if len(self._shards) == 1 and isinstance(self._shards[0], np.ndarray):
            # Other modes would first gather into an array of their own.
            return np.take(self._shards[0], places, axis=0, out=out, mode="clip")
        numbers = np.searchsorted(self._ends, places, side="right")
        # From the end, so that the first shard needs no case of its own.
        within = places - self._ends[numbers]

        def fill(row: int, number: int, place: int) -> None:
            out[row] = self._shards[number][place]

        wanted = (range(len(out)), numbers.tolist(), within.tolist())
        if not isinstance(self._shards[0], np.ndarray):
            # At once, because each read may wait for a disk that is far away.
            with ThreadPoolExecutor(READS_AT_ONCE) as threads:
                list(threads.map(fill, *wanted))
        else:
            list(map(fill, *wanted))
        return out

    def subset(self, rows: npt.NDArray[Any]) -> "Rows":
        """Some of the rows; nothing is read."""
        return Rows(self._shards, self._positions[rows])


@dataclass(frozen=True, eq=False)
class Split:
    """One part of the prepared images."""

    images: Any  # N x C x H x W: `Rows`, or an array
    labels: Labels  # N, positions in the manifest's `classes`


@dataclass(frozen=True)
class Shard:
    """A file of images that lies in the prepared folder."""

    shape: tuple[int, ...]  # N x C x H x W
    dtype: str
    sha256: str


def shard_size(image_bytes: int) -> int:
    """How many images of so many bytes a shard has, at most."""
    return max(1, min(SHARD_IMAGES, SHARD_BYTES // image_bytes))


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"images-{number:05d}.npy"


def write_shard(path: Path, images: npt.NDArray[Any]) -> Shard:
    """Write images, N x C x H x W in memory, in one visible step; hash them while they are there.

    The file is written, not mapped: a full disk is then an error, and not a crash.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {
            "descr": np.lib.format.dtype_to_descr(images.dtype),
            "fortran_order": False,
            "shape": images.shape,
        },
    )
    digest = hashlib.sha256(header.getvalue())
    pixels = np.ascontiguousarray(images).reshape(-1).view(np.uint8).data
    digest.update(pixels)
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(header.getvalue())
        file.write(pixels)
    return Shard(images.shape, str(images.dtype), digest.hexdigest())


def write_prepared(
    folder: Path,
    shards: Sequence[Shard],
    splits: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[Any]]],
    *,
    name: str,
    classes: Sequence[str],
    image_size: int,
    licence: str = UNKNOWN,
    drawings: bool = False,
    own_folder: bool = False,
    sketch: Sequence[str] = (),
    source: str = UNKNOWN,
) -> dict[str, Any]:
    """Write which images each split has, their labels, and last the manifest that describes all.

    Args:
        folder: where `SPLIT.rows.npy`, `SPLIT.labels.npy` and `manifest.json` go, beside the
            shards.
        shards: what lies in `folder` as `images-00000.npy` and so on.
        splits: by name, numbers that count the images of all shards, N, and their labels, N.
        name: of the data set.
        classes: their names; none: the images have no labels, and these are 0.
        image_size: side of the images, pixels.
        licence: of the data set, and who says so.
        drawings: whether the images are bright things on black; False: photographs.
        own_folder: whether they are a folder of the user's own, of which nothing is known.
        sketch: what `sketch` makes of the data set.
        source: the URL of its publisher, or a hash of all images.

    Returns:
        The manifest: see `read_manifest`.
    """
    manifest: dict[str, Any] = {
        "dataset": name,
        "classes": list(classes),
        "image_size": image_size,
        "licence": licence,
        "drawings": drawings,
        "own_folder": own_folder,
        "sketch": list(sketch),
        "source": source,
        "splits": {},
        "files": {},
    }
    manifest["channels"] = shards[0].shape[1]
    for number, shard in enumerate(shards):
        manifest["files"][shard_name(number)] = {
            "shape": list(shard.shape), "dtype": shard.dtype, "sha256": shard.sha256,
        }  # fmt: skip
    for split, (positions, labels) in splits.items():
        for kind, array in (("rows", positions), ("labels", labels)):
            path = folder / f"{split}.{kind}.npy"
            with files.replacing(path) as temporary:
                np.save(temporary, array)
            manifest["files"][path.name] = {
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "sha256": files.sha256(path),
            }
        per_class = np.bincount(labels, minlength=len(classes)).tolist()
        manifest["splits"][split] = {"count": len(positions), "per_class": per_class}
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def sketch(digests: Iterable[str]) -> list[str]:
    """A small sample of a data set, drawn by content: the smallest of its images' digests.

    Two data sets that share images share a part of their sketches, so that a model can be asked
    whether it has learnt such images (Broder 1997, a bottom-k sketch).

    Args:
        digests: sha256 of each image, or of each file of a published set, hex digits.

    Returns:
        The SKETCH smallest ones, twelve digits each, in rising order; equal ones count once.
    """
    return sorted({digest[:SKETCH_DIGITS] for digest in digests})[:SKETCH]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The description of a prepared folder.

    Keys: `dataset`; `classes`, their names; `image_size`, pixels; `channels`; `splits`, by name
    `count` and `per_class`; `files`, by name `shape`, `dtype` and `sha256`; `licence`,
    `drawings`, `own_folder`, `sketch` and `source`, as given to `write_prepared`, which manifests
    of earlier versions lack.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    path = folder / "manifest.json"
    manifest = files.read_json(path)
    keys = {"dataset", "classes", "image_size", "channels", "splits", "files"}
    if not isinstance(manifest, dict) or keys - set(manifest):
        raise DataError(
            f"{path}: has not the keys {', '.join(sorted(keys))}: run the stage that makes it"
        )
    unknown = {
        "licence": UNKNOWN, "drawings": False, "own_folder": False, "sketch": [], "source": UNKNOWN,
    }  # fmt: skip
    return {**unknown, **manifest}


def described(manifest: Mapping[str, Any], split: str) -> dict[str, Any]:
    """What a page about a data set says of a split: number and shape of its images, its classes."""
    side = manifest["image_size"]
    counts = manifest["splits"][split]
    classes = dict(zip(manifest["classes"], counts["per_class"], strict=False))
    return {
        "split": split, "images": counts["count"], "shape": [manifest["channels"], side, side],
        "classes": classes,
    }  # fmt: skip


def data_sha256(manifest: dict[str, Any]) -> str:
    """One hash for all the data: that of the names and hashes of the prepared files.

    A copy in another form keeps the hash of the original, as `data_sha256`.
    """
    if "data_sha256" in manifest:
        return str(manifest["data_sha256"])
    lines = (f"{file['sha256']}  {name}\n" for name, file in sorted(manifest["files"].items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_split(
    folder: Path,
    split: str,
    *,
    verify: bool = False,
    memory: int | None = None,
    open_shard: OpenShard | None = None,
) -> Split:
    """Map one split of a prepared folder; its values are read when they are used.

    Args:
        folder: as `write_prepared` left it.
        split: train, validation or test.
        verify: read all files of the split now, several at once, and compare their sha256 with the
            manifest's. All at the start, because the first batches touch all shards anyway.
        memory: bytes that the machine has, if rows are read at random: of more images than fit no
            neighbours are read along, which would push out what is needed
            (docs/performance.md).
        open_shard: opens a file of images, of which the manifest says so much; None: map it.

    Raises:
        DataError: a file is missing, is not what the manifest says, or is damaged.
    """
    described = read_manifest(folder)["files"]
    rows, labels = (
        _open(folder, f"{split}.{kind}.npy", described, verify=verify)
        for kind in ("rows", "labels")
    )
    names = [name for name in sorted(described) if name.startswith("images-")]
    ends = np.cumsum([described[name]["shape"][0] for name in names])
    if len(rows) and not 0 <= rows.min() <= rows.max() < ends[-1]:
        raise DataError(
            f"{folder / split}.rows.npy: {rows.min()} to {rows.max()}, and there are {ends[-1]}"
            " images: run the stage that makes it"
        )
    # From the first to the last shard that the split uses, so that a damaged one between them is
    # found; the others are not opened.
    first, last = (
        np.searchsorted(ends, [rows.min(), rows.max()], side="right") if len(rows) else (0, 0)
    )
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        opening = functools.partial(
            _open, folder, described=described, verify=verify, open_shard=open_shard
        )
        shards: list[Any] = list(threads.map(opening, names[first : last + 1]))
    if memory is not None and sum(shard.nbytes for shard in shards) > memory:
        for shard in shards:
            pages = getattr(shard, "base", None)
            if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
                pages.madvise(mmap.MADV_RANDOM)
    before = int(ends[first - 1]) if first else 0
    return Split(Rows(shards, rows - before if before else rows), labels)


def bank(split: Split, seed: int) -> Split:
    """At most BANK of a split's images, from each class in its share; of no more, all of them.

    What is measured on train images, and the extractor's training, takes these: its cost and its
    memory then do not grow with the data set.
    """
    if len(split.labels) <= BANK:
        return split
    rows = rng.choose_of_each(split.labels, BANK, seed, "bank")
    return Split(split.images.subset(rows), split.labels[rows])


def _open(
    folder: Path,
    name: str,
    described: Mapping[str, Any],
    *,
    verify: bool,
    open_shard: OpenShard | None = None,
) -> Any:
    """Map one file of a prepared folder, after it is compared with the manifest's words on it."""
    path = folder / name
    if name not in described:
        raise DataError(f"{folder / 'manifest.json'}: has no {name}: run the stage that makes it")
    if verify:
        files.verify(path, described[name]["sha256"])
    if name.startswith("images-") and open_shard is not None:
        return open_shard(path, described[name])
    if path.suffix != ".npy":
        raise DataError(
            f"{path}: is of a copy that the stage train alone reads: let data/prepared be what the"
            " stage prepare wrote"
        )
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}): run the stage that makes it") from error
    held = _kind(str(array.dtype), array.shape)
    promised = _kind(described[name]["dtype"], described[name]["shape"])
    if held != promised:
        raise DataError(
            f"{path}: holds {held}, the manifest says {promised}: run the stage that makes it"
        )
    return array


def to_float(images: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """uint8 to float32 in [-1, 1]; `to_uint8` gives back the same bytes."""
    # A copy, because torch warns about read-only arrays, such as mapped ones.
    tensor = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    return tensor.to(torch.float32).div(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Floats in [-1, 1] to uint8, rounded; values outside are clamped."""
    return images.to(torch.float32).add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def _kind(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} {' x '.join(map(str, shape))}"

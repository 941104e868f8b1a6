"""The prepared folder, whose arrays every reader maps into memory.

On disk and in pictures images are uint8, 0 to 255; inside the networks float32 in [-1, 1].
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import files
from dcgan.errors import DataError

SPLITS = ("train", "validation", "test")
PIECE_BYTES = 2**24  # copied at once, so that memory stays small
UNKNOWN = "unknown"  # licence
SKETCH, SKETCH_DIGITS = 64, 12  # hashes in a sketch, and their length

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of the prepared images."""

    images: Images  # N x C x H x W, mapped from the disk, read only
    labels: Labels  # N, positions in the manifest's `classes`


def write_prepared(
    folder: Path,
    splits: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    *,
    name: str,
    classes: Sequence[str],
    image_size: int,
    positions: dict[str, npt.NDArray[np.int64]],
    licence: str = UNKNOWN,
    drawings: bool = False,
    own_folder: bool = False,
    sketch: Sequence[str] = (),
) -> dict[str, Any]:
    """Write images and labels of each split, and last the manifest that describes them.

    Args:
        folder: where `SPLIT.images.npy`, `SPLIT.labels.npy` and `manifest.json` go.
        splits: images, N x C x H x W, and labels, N; mapped images are copied in pieces, so that
            memory stays small.
        name: of the data set.
        classes: their names; none: the images have no labels, and these are 0.
        image_size: side of the images, pixels.
        positions: by split, which of its images and labels are written, and in which order.
        licence: of the data set, and who says so.
        drawings: whether the images are bright things on black; False: photographs.
        own_folder: whether they are a folder of the user's own, of which nothing is known.
        sketch: what `sketch` makes of the data set.

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
        "splits": {},
        "files": {},
    }
    manifest["channels"] = splits["train"][0].shape[1]
    for split, (images, labels) in splits.items():
        chosen = positions[split]
        for kind, array in (("images", images), ("labels", labels)):
            path = folder / f"{split}.{kind}.npy"
            shape = (len(chosen), *array.shape[1:])
            with files.replacing(path) as temporary:
                _write_npy(temporary, array, chosen)
            manifest["files"][path.name] = {
                "shape": list(shape),
                "dtype": str(array.dtype),
                "sha256": files.sha256(path),
            }
        per_class = np.bincount(labels[chosen], minlength=len(classes)).tolist()
        manifest["splits"][split] = {"count": len(chosen), "per_class": per_class}
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
    `drawings`, `own_folder` and `sketch`, as given to `write_prepared`, which manifests of
    earlier versions lack.

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
    unknown = {"licence": UNKNOWN, "drawings": False, "own_folder": False, "sketch": []}
    return {**unknown, **manifest}


def data_sha256(manifest: dict[str, Any]) -> str:
    """One hash for all the data: that of the names and hashes of the prepared files."""
    lines = (f"{file['sha256']}  {name}\n" for name, file in sorted(manifest["files"].items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_split(folder: Path, split: str, *, verify: bool = False) -> Split:
    """Map one split of a prepared folder; its values are read when they are used.

    Args:
        folder: as `write_prepared` left it.
        split: train, validation or test.
        verify: read all of it now, and compare its sha256 with the manifest's.

    Raises:
        DataError: a file is missing, is not what the manifest says, or is damaged.
    """
    described = read_manifest(folder)["files"]
    arrays = []
    for kind in ("images", "labels"):
        path = folder / f"{split}.{kind}.npy"
        if path.name not in described:
            raise DataError(
                f"{folder / 'manifest.json'}: has no {path.name}: run the stage that makes it"
            )
        if verify:
            files.verify(path, described[path.name]["sha256"])
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{path}: cannot be read ({error}): run the stage that makes it"
            ) from error
        held = _kind(str(array.dtype), array.shape)
        promised = _kind(described[path.name]["dtype"], described[path.name]["shape"])
        if held != promised:
            raise DataError(
                f"{path}: holds {held}, the manifest says {promised}: run the stage that makes it"
            )
        arrays.append(array)
    return Split(*arrays)


def to_float(images: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """uint8 to float32 in [-1, 1]; `to_uint8` gives back the same bytes."""
    # A copy, because torch warns about read-only arrays, such as mapped ones.
    tensor = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    return tensor.to(torch.float32).div(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Floats in [-1, 1] to uint8, rounded; values outside are clamped."""
    return images.to(torch.float32).add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def _write_npy(path: Path, array: npt.NDArray[Any], positions: npt.NDArray[np.int64]) -> None:
    """Write the bytes that np.save would write of array[positions].

    The file is written, not mapped: a full disk is then an error, and not a crash.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": (len(positions), *array.shape[1:]),
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        piece = max(1, PIECE_BYTES // (array.itemsize * math.prod(array.shape[1:])))
        for start in range(0, len(positions), piece):
            file.write(array[positions[start : start + piece]].tobytes())


def _kind(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} {' x '.join(map(str, shape))}"

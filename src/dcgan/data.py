"""The prepared folder, whose arrays every reader maps into memory.

On disk and in pictures images are uint8, 0 to 255; inside the networks float32 in [-1, 1].
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import files
from dcgan.errors import DataError

SPLITS = ("train", "validation", "test")
PIECE_BYTES = 2**24  # that are copied at once
UNKNOWN = "unknown"  # licence

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
    positions: dict[str, Labels] | None = None,
    licence: str = UNKNOWN,
    drawings: bool = False,
) -> dict[str, Any]:
    """Write images and labels of each split, and last the manifest that describes them, which is returned.

    Args:
        folder: where `SPLIT.images.npy`, `SPLIT.labels.npy` and `manifest.json` go.
        splits: images, N x C x H x W, and labels, N; mapped images are copied in pieces, so that
            memory stays small.
        name: of the data set.
        classes: their names; none: the images have no labels, and these are 0.
        image_size: side of the images, pixels.
        positions: by split, which of its images and labels, and in which order; None: all of them,
            as they are.
        licence: of the data set, and who says so.
        drawings: whether the images are bright things on black; False: photographs.
    """
    manifest: dict[str, Any] = {
        "dataset": name,
        "classes": list(classes),
        "image_size": image_size,
        "licence": licence,
        "drawings": drawings,
        "splits": {},
        "files": {},
    }
    manifest["channels"] = splits["train"][0].shape[1]
    for split, (images, labels) in splits.items():
        chosen = np.arange(len(images)) if positions is None else positions[split]
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


def read_manifest(folder: Path) -> dict[str, Any]:
    """The description of a prepared folder.

    Keys: `dataset`; `classes`, their names; `image_size`, pixels; `channels`; `splits`, by name
    `count` and `per_class`; `files`, by name `shape`, `dtype` and `sha256`; `licence` and
    `drawings`, as given to `write_prepared`, which manifests of earlier versions lack.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    path = folder / "manifest.json"
    manifest = files.read_json(path)
    wanted = {"dataset", "classes", "image_size", "channels", "splits", "files"}
    if not isinstance(manifest, dict) or wanted - set(manifest):
        raise DataError(
            f"{path}: has not the keys {', '.join(sorted(wanted))}: run the stage that makes it"
        )
    return {"licence": UNKNOWN, "drawings": False, **manifest}


def data_sha256(manifest: dict[str, Any]) -> str:
    """One hash that stands for the data: of the names and hashes of all prepared files."""
    lines = (f"{file['sha256']}  {name}\n" for name, file in sorted(manifest["files"].items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_split(folder: Path, split: str, *, verify: bool = False) -> Split:
    """Map one split of a prepared folder; nothing is read until it is used, unless `verify` asks for the sha256 to be checked.

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
        found, expected = (
            (str(array.dtype), list(array.shape)),
            (described[path.name]["dtype"], described[path.name]["shape"]),
        )
        if found != expected:
            raise DataError(
                f"{path}: holds {_kind(*found)}, the manifest says {_kind(*expected)}: run the stage that makes it"
            )
        arrays.append(array)
    return Split(*arrays)


def to_float(images: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """uint8 to float32 in [-1, 1]; `to_uint8` gives back the same bytes."""
    # A copy, because torch warns of arrays that cannot be written, as mapped ones.
    tensor = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    return tensor.to(torch.float32).div(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Floats in [-1, 1] to uint8, rounded; values outside are clamped."""
    return images.to(torch.float32).add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def _write_npy(path: Path, array: npt.NDArray[Any], positions: Labels) -> None:
    """The bytes that np.save would write of array[positions]; a full disk is an error, where a mapped file would crash."""
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": (len(positions), *array.shape[1:]),
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, PIECE_BYTES // (array.itemsize * math.prod(array.shape[1:])))
        for start in range(0, len(positions), step):
            file.write(array[positions[start : start + step]].tobytes())


def _kind(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} {' x '.join(map(str, shape))}"

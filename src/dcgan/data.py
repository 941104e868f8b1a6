"""Images in, images out: from IDX files to arrays that every reader maps into memory, and back to pictures.

On disk and in pictures images are uint8, 0 to 255; inside the networks float32 in [-1, 1].
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms
from torchvision.utils import make_grid

from dcgan import files, idx, rng
from dcgan.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")
CLASSES = {
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of the prepared images."""

    images: Images  # N x C x H x W, mapped from the disk, read only
    labels: Labels  # N, positions in the manifest's `classes`


def prepare(raw: Path, folder: Path, *, name: str, image_size: int, validation_size: int, seed: int) -> dict[str, Any]:
    """Turn four IDX files into the prepared folder: arrays for the three splits, and the manifest.

    The test split is the test files as they are. Validation is held out of the train files, balanced by class.

    Args:
        raw: the folder with the IDX files and `manifest.json`, their sha256.
        folder: where `SPLIT.images.npy`, `SPLIT.labels.npy` and `manifest.json` go.
        name: the data set, a key of CLASSES.
        image_size: side of the prepared images, pixels.
        validation_size: images held out.
        seed: of the split.

    Returns:
        The manifest.

    Raises:
        DataError: an IDX file is damaged, or labels and images differ in number.
        ConfigError: a class has too few images to hold out its share.
    """
    images, labels = _read_pair(raw, "train", image_size)
    train, validation = split_validation(labels, validation_size, seed)
    splits = {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": _read_pair(raw, "t10k", image_size),
    }
    return write_prepared(folder, splits, name=name, classes=CLASSES[name], image_size=image_size)


def split_validation(labels: npt.NDArray[Any], size: int, seed: int) -> tuple[Labels, Labels]:
    """Draw `size` images, the same number of each class; where that does not divide, the first classes give one more.

    Args:
        labels: N integers.
        size: number of images to draw.
        seed: of the draw.

    Returns:
        The positions that stay in train and those drawn, each in rising order.

    Raises:
        ConfigError: a class would have no image left for train.
    """
    classes = np.unique(labels)
    drawn = []
    for position, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        share = size // len(classes) + (position < size % len(classes))
        if share >= len(members):
            raise ConfigError(
                f"params.yaml: dataset.validation_size = {size}: takes {share} images of class {label},"
                f" which has {len(members)}: must leave at least one; choose a smaller value"
            )
        order = torch.randperm(len(members), generator=rng.generator(seed, "validation", int(label)))
        drawn.append(members[order[:share].numpy()])
    validation = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def resize(images: Images, size: int) -> Images:
    """N x H x W to N x 1 x size x size, bilinear with antialias; images that have the size are returned as they are."""
    if images.shape[1:] == (size, size):
        return images[:, None]
    # In pieces, so that memory is that of the result and little more.
    pieces = [torch.from_numpy(images[start : start + 1000])[:, None] for start in range(0, len(images), 1000)]
    return np.concatenate([transforms.resize(piece, [size, size], antialias=True).numpy() for piece in pieces])


def write_prepared(
    folder: Path,
    splits: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    *,
    name: str,
    classes: Sequence[str],
    image_size: int,
) -> dict[str, Any]:
    """Write images (N x C x H x W) and labels (N) of each split, and last the manifest that describes them, which is returned."""
    manifest: dict[str, Any] = {"dataset": name, "classes": list(classes), "image_size": image_size, "splits": {}, "files": {}}
    manifest["channels"] = splits["train"][0].shape[1]
    for split, (images, labels) in splits.items():
        for kind, array in (("images", images), ("labels", labels)):
            path = folder / f"{split}.{kind}.npy"
            with files.replacing(path) as temporary:
                np.save(temporary, array, allow_pickle=False)
            manifest["files"][path.name] = {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": files.sha256(path)}
        manifest["splits"][split] = {"count": len(images), "per_class": np.bincount(labels, minlength=len(classes)).tolist()}
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The description of a prepared folder.

    Keys: `dataset`; `classes`, their names; `image_size`, pixels; `channels`; `splits`, by name `count` and `per_class`; `files`,
    by name `shape`, `dtype` and `sha256`.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    path = folder / "manifest.json"
    manifest = files.read_json(path)
    wanted = {"dataset", "classes", "image_size", "channels", "splits", "files"}
    if not isinstance(manifest, dict) or wanted - set(manifest):
        raise DataError(f"{path}: has not the keys {', '.join(sorted(wanted))}: run the stage that makes it")
    return manifest


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
            raise DataError(f"{folder / 'manifest.json'}: has no {path.name}: run the stage that makes it")
        if verify:
            files.verify(path, described[path.name]["sha256"])
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: cannot be read ({error}): run the stage that makes it") from error
        found, expected = (str(array.dtype), list(array.shape)), (described[path.name]["dtype"], described[path.name]["shape"])
        if found != expected:
            raise DataError(f"{path}: holds {_kind(*found)}, the manifest says {_kind(*expected)}: run the stage that makes it")
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


def tile(images: npt.NDArray[Any] | torch.Tensor, columns: int) -> Images:
    """Lay images out in rows, two pixels apart.

    Args:
        images: N x C x H x W, uint8, C of 1 or 3.
        columns: images a row.

    Returns:
        One image, H x W x 3, uint8.
    """
    tensor = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    grid: torch.Tensor = make_grid(tensor.cpu(), nrow=columns, padding=2)
    return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())


def save_png(path: Path, image: Images) -> None:
    """Write H x W x 3 or H x W, uint8, as PNG in one visible step; equal pixels give equal bytes."""
    with files.replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def _read_pair(raw: Path, part: str, image_size: int) -> tuple[Images, Labels]:
    images, labels = raw / f"{part}-images-idx3-ubyte", raw / f"{part}-labels-idx1-ubyte"
    digests = files.read_json(raw / "manifest.json")
    for path in (images, labels):
        files.verify(path, digests.get(path.name, "none") if isinstance(digests, dict) else "none")
    idx.check_pair(images, labels)
    return resize(idx.read(images), image_size), idx.read(labels).astype(np.int64)


def _kind(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} {' x '.join(map(str, shape))}"

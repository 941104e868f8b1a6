"""A small data set in Fashion-MNIST's format: shapes of ten classes that differ at a glance."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcgan.raw.fake import shape

__all__ = ["shape", "write_idx_source", "write_letters"]


def write_idx_source(folder: Path, num_train: int, num_test: int, seed: int = 0) -> None:
    """Write the four gzipped IDX files: 28 x 28 uint8, no image twice, classes about equal."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for part, count in (("train", num_train), ("t10k", num_test)):
        labels = generator.permutation(np.arange(count) % 10).astype(np.uint8)
        write_idx(
            folder / f"{part}-images-idx3-ubyte.gz",
            np.stack([shape(int(label), generator) for label in labels]),
        )
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write uint8 values as a gzipped IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


def write_letters(folder: Path, labels: Sequence[int]) -> None:
    """The four files with labels of one's own: each twice in train and once in test."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for part, times in (("train", 2), ("t10k", 1)):
        images = generator.integers(0, 256, (times * len(labels), 28, 28), dtype=np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.array([*labels] * times, np.uint8))

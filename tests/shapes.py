"""A small data set in Fashion-MNIST's format: generated shapes, ten classes that differ at a glance."""

import gzip
import struct
from pathlib import Path

import numpy as np

SIZE = 28


def write_idx_source(folder: Path, num_train: int, num_test: int, seed: int = 0) -> None:
    """Write the four gzipped IDX files: 28 x 28 uint8, no image twice, classes as even as the counts allow."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    seen: set[bytes] = set()
    for part, count in (("train", num_train), ("t10k", num_test)):
        labels = generator.permutation(np.arange(count) % 10).astype(np.uint8)
        images = np.stack([_new_shape(int(label), generator, seen) for label in labels])
        _write(folder / f"{part}-images-idx3-ubyte.gz", images)
        _write(folder / f"{part}-labels-idx1-ubyte.gz", labels)


def shape(label: int, generator: np.random.Generator) -> np.ndarray:
    """One image of a class at a random place, size and brightness: bright on black, the brightest pixel 255."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    radius = generator.uniform(8, 11)
    y, x = y - generator.uniform(12, 15), x - generator.uniform(12, 15)
    reach, distance = np.maximum(abs(x), abs(y)), np.hypot(x, y)
    inside = (
        distance < radius,  # disc
        reach < radius * 0.9,  # square
        (abs(y) < radius * 0.4) & (abs(x) < radius * 1.2),  # lying bar
        (abs(x) < radius * 0.4) & (abs(y) < radius * 1.2),  # standing bar
        (np.minimum(abs(x), abs(y)) < 2.5) & (reach < radius * 1.1),  # plus
        (np.minimum(abs(x - y), abs(x + y)) < 3.5) & (reach < radius),  # cross
        (y < radius * 0.8) & (abs(x) < (y + radius) * 0.6),  # triangle
        (distance < radius) & (distance > radius * 0.6),  # ring
        (reach < radius) & (reach > radius * 0.6),  # frame
        ((x // 5 + y // 5) % 2 == 0) & (reach < radius * 1.1),  # chessboard
    )[label]
    shade = generator.uniform(150, 255) + generator.integers(-20, 21, size=(SIZE, SIZE))
    image = np.where(inside, shade, 0).clip(0, 255).astype(np.uint8)
    image[tuple(np.argwhere(inside)[0])] = 255
    return image


def _new_shape(label: int, generator: np.random.Generator, seen: set[bytes]) -> np.ndarray:
    while True:
        image = shape(label, generator)
        if image.tobytes() not in seen:
            seen.add(image.tobytes())
            return image


def _write(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))

"""Generated shapes: ten classes that differ at a glance, for trials without a download."""

from pathlib import Path

import numpy as np

from dcgan.config import sections
from dcgan.raw.dataset import DataSet, Labels, Pixels, Raw

CLASSES = (
    "disc", "square", "bar", "column", "plus", "cross", "triangle", "ring", "frame", "chessboard",
)  # fmt: skip
NUM_IMAGES = 2000  # drawn for train and validation where dataset.max_images gives no number


def draw_one(index: int, size: int, channels: int, seed: int) -> Pixels:
    """Image `index`: C x size x size, uint8, of class `index` modulo 10.

    Args:
        index: with the seed and the two sizes all that the image depends on.
        size: side, pixels.
        channels: 1 or 3; with 3 every shape has a colour of its own.
        seed: of the draws.
    """
    # Here, because it imports torch, which a download does not need.
    from dcgan import rng

    # Seeded with the index too: among many images two derived seeds of 32 bits may be equal.
    generator = np.random.default_rng([rng.derive(seed, "shapes", index), index])
    image = shape(index % len(CLASSES), generator, size)
    if channels == 1:
        return image[None]
    colour = generator.uniform(0.2, 1, size=3)
    return (image * (colour / colour.max())[:, None, None]).astype(np.uint8)


def shape(label: int, generator: np.random.Generator, size: int = 28) -> Pixels:
    """One grey image of a class at a random place, radius and brightness.

    Returns:
        size x size, uint8: bright on black, the brightest pixel 255.
    """
    scale = size / 28
    y, x = np.mgrid[0:size, 0:size]
    radius = generator.uniform(8, 11) * scale
    y, x = y - generator.uniform(12, 15) * scale, x - generator.uniform(12, 15) * scale
    reach, distance = np.maximum(abs(x), abs(y)), np.hypot(x, y)
    inside = (
        distance < radius,  # disc
        reach < radius * 0.9,  # square
        (abs(y) < radius * 0.4) & (abs(x) < radius * 1.2),  # lying bar
        (abs(x) < radius * 0.4) & (abs(y) < radius * 1.2),  # standing bar, a column
        (np.minimum(abs(x), abs(y)) < 2.5 * scale) & (reach < radius * 1.1),  # plus
        (np.minimum(abs(x - y), abs(x + y)) < 3.5 * scale) & (reach < radius),  # cross
        (y < radius * 0.8) & (abs(x) < (y + radius) * 0.6),  # triangle
        (distance < radius) & (distance > radius * 0.6),  # ring
        (reach < radius) & (reach > radius * 0.6),  # frame
        ((x // (5 * scale) + y // (5 * scale)) % 2 == 0) & (reach < radius * 1.1),  # chessboard
    )[label]
    # Every pixel has its own shade, so no image comes twice.
    shade = generator.uniform(150, 255) + generator.integers(-20, 21, size=(size, size))
    image = np.where(inside, shade, 0).clip(0, 255).astype(np.uint8)
    image[tuple(np.argwhere(inside)[0])] = 255
    return image


class _DrawnRecords:
    """Shapes, drawn when they are read."""

    def __init__(self, count: int, size: int, channels: int, seed: int) -> None:
        self.count, self.size, self.channels, self.seed = count, size, channels, seed
        self.labels: Labels | None = np.arange(count) % len(CLASSES)
        self.digests = None

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"fake[{index}]"

    def read(self, index: int) -> Pixels:
        image = draw_one(index, self.size, self.channels, self.seed)
        return image[0] if self.channels == 1 else image.transpose(1, 2, 0)


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    count = (dataset.max_images or NUM_IMAGES) + dataset.test_size
    pool = _DrawnRecords(count, dataset.image_size, dataset.channels, seed)
    return Raw(pool, None)


FAKE = DataSet(
    raw=(),
    unpack=lambda served, target, pins, dataset: None,
    open=_open,
    licence="none needed: shapes drawn by this project",
    drawings=True,
    test_split=False,
    classes=CLASSES,
)

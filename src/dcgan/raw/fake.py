"""Generated shapes: ten classes that differ at a glance, for trials without a download."""

import numpy as np
import numpy.typing as npt

from dcgan import rng

NUM_CLASSES = 10  # their names: catalog.CLASSES["fake"]


def draw(
    count: int, size: int, channels: int, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw the first `count` images; image i depends on (seed, i) and the two sizes alone.

    Args:
        count: how many.
        size: side, pixels.
        channels: 1 or 3; with 3 every shape has a colour of its own.
        seed: of the draws.

    Returns:
        Images, N x C x size x size, and labels, N; image i is of class i modulo 10.
    """
    images = np.empty((count, channels, size, size), np.uint8)
    for index in range(count):
        images[index] = draw_one(index, size, channels, seed)
    return images, np.arange(count) % NUM_CLASSES


def draw_one(index: int, size: int, channels: int, seed: int) -> npt.NDArray[np.uint8]:
    """Image `index` of `draw`: C x size x size, uint8."""
    # The index beside its derived seed, whose 32 bits may come twice among many images.
    generator = np.random.default_rng([rng.derive(seed, "shapes", index), index])
    image = shape(index % NUM_CLASSES, generator, size)
    if channels == 1:
        return image[None]
    colour = generator.uniform(0.2, 1, size=3)
    return (image * (colour / colour.max())[:, None, None]).astype(np.uint8)


def shape(label: int, generator: np.random.Generator, size: int = 28) -> npt.NDArray[np.uint8]:
    """One grey image of a class at a random place, radius and brightness: size x size, bright on black, the brightest pixel 255."""
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

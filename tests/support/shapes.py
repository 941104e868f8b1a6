"""The first images of the data set `fake`, as arrays."""

import numpy as np

from dcgan.raw import fake


def draw(count: int, size: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 N x C x size x size, and labels, N; image i is of class i modulo 10."""
    images = np.empty((count, channels, size, size), np.uint8)
    for index in range(count):
        images[index] = fake.draw_one(index, size, channels, seed)
    return images, np.arange(count) % len(fake.CLASSES)

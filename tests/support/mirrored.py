"""Images that are one another's mirror images: arrows to the left and to the right."""

import numpy as np

from dcgan.data import Split


def arrows(count: int, seed: int = 0, size: int = 16) -> Split:
    """Half of them point to the left, label 0, half to the right, label 1."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 20, (count, 1, size, size), np.uint8)
    labels = np.arange(count) % 2
    for image, label in zip(images[:, 0], labels, strict=True):
        top, left = generator.integers(0, size - 9, 2)
        for column in range(6):
            image[top + 4 - column : top + 5 + column, left + column] = 230
        if label:
            image[:] = image[:, ::-1].copy()
    return Split(images, labels)

"""Which images are held out: by their content where that is known, else drawn by their position.

A folder of pictures changes. There the bytes of an image and the seed decide whether it is tested
on, so that pictures which come or go move no other one, and no image that a model has learnt
becomes a test image of the next. Published data never change; their images are drawn.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import data, rng
from dcgan.errors import ConfigError, DataError

FEWEST = 20  # images that are held out: fewer give no figures
FEWEST_OF_CLASS = 3  # one for each split

Numbers = npt.NDArray[np.float64]


def hold_out(
    labels: npt.NDArray[Any], size: int, seed: int, split: str
) -> tuple[data.Labels, data.Labels]:
    """Draw `size` images, from each class in proportion.

    Where a share is no whole number it is rounded down; the images that are then left to draw go to
    the classes with the largest remainders, one each, the first of equals.

    Args:
        labels: N integers.
        size: number of images to draw.
        seed: of the draw.
        split: for which split; names the stream of random numbers and, in errors, the parameter.

    Returns:
        The positions that stay and those drawn, each in rising order.

    Raises:
        ConfigError: a class would have no image left.
    """
    classes, counts = np.unique(labels, return_counts=True)
    drawn = []
    for label, share in zip(classes, rng.shares(counts, size), strict=True):
        members = np.flatnonzero(labels == label)
        if share >= len(members):
            of_class = f" of class {label}" if len(classes) > 1 else ""
            raise ConfigError(
                f"params.yaml: dataset.{split}_size = {size}: takes {share} of the {len(members)}"
                f" images{of_class}: must leave at least one; choose a smaller value"
            )
        chosen = rng.choose(len(members), int(share), seed, split, int(label))
        drawn.append(members[chosen.numpy()])
    held_out = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def numbers(digests: Iterable[bytes], seed: int, purpose: str) -> Numbers:
    """A number for each image, from 0 to below 1, that depends on its content and the seed alone.

    Args:
        digests: what names each image by its content.
        seed: of the run.
        purpose: "splits" or "max_images": the numbers of two purposes have nothing in common.
    """
    key = f"{seed}/{purpose}/".encode()
    hashed = (hashlib.blake2b(key + digest, digest_size=6).digest() for digest in digests)
    return np.array([int.from_bytes(number, "big") for number in hashed], np.float64) / 2.0**48


def share(size: int, num_images: int) -> float:
    """The part of the images that is held out, so that it is about `size` of them.

    `num_images` is rounded to two digits, to tens below a hundred, so that a few pictures more or
    less move no limit. Round numbers of images lie in the middle of what is rounded to them.
    """
    step = max(10, 10 ** (len(str(num_images)) - 2))
    rounded = max(step, (2 * num_images + step) // (2 * step) * step)
    return size / rounded


def by_content(
    number: Numbers,
    labels: npt.NDArray[Any],
    classes: Sequence[str],
    *,
    test: float,
    validation: float,
) -> dict[str, data.Labels]:
    """Divide the images by their numbers: the smallest are for test, the next for validation.

    Each class keeps at least one image in each split that is wanted, and at least FEWEST images are
    held out for it: where the limits give fewer, the smallest numbers above take the places.

    Args:
        number: of each image, from 0 to below 1.
        labels: N integers.
        classes: their names, for errors; none: all labels are 0.
        test: share of the images for test; 0: none.
        validation: share of the images that are not for test.

    Returns:
        By split, positions in rising order.

    Raises:
        DataError: a class has too few images for three splits.
        ConfigError: too few images would be left for train.
    """
    limits = [test, test + (1 - test) * validation]
    # A class gives up two images at most, one to each of the other splits.
    fewest = FEWEST + (2 * len(classes) if classes else 0)
    for place in range(2):
        below = limits[place - 1] if place else 0.0
        free = np.sort(number[number >= below])
        if limits[place] > below and (free < limits[place]).sum() < fewest < len(free):
            limits[place] = float(free[fewest])
    parts: dict[str, list[data.Labels]] = {"test": [], "validation": [], "train": []}
    wanted = (test > 0, validation > 0)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(number[members], kind="stable")]
        needed = 1 + sum(wanted)
        if len(members) < needed:
            name = f"class {classes[label]}" if classes else "the data set"
            raise DataError(
                f"{name} has {len(members)} images that can be used: needs at least {needed}, one"
                " for each split: add pictures, or set dataset.class_folders to false"
            )
        ends, end = [], 0
        for place in range(2):
            # One for train, and for each split that still comes.
            left = len(members) - 1 - sum(wanted[place + 1 :])
            below = int((number[members] < limits[place]).sum()) if wanted[place] else end
            end = min(max(below, end + wanted[place]), left)
            ends.append(end)
        for name, part in zip(parts, np.split(members, ends), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}

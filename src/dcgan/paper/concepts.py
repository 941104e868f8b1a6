"""Arithmetic in the latent space (arXiv 1511.06434, section 6.3.2), as arrays.

Radford et al. 2015 picked samples by hand. Here concepts are the classes of a frozen classifier,
and which way an image leans is measured. Images are uint8 N x C x H x W, latent vectors float32
N x z_dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan import data, rng
from dcgan.errors import ConfigError
from dcgan.networks import sampling
from dcgan.networks.models import Generator
from dcgan.paper.investigate import Floats, Positions

EXEMPLARS = 3  # of each concept, as in the paper
NEIGHBOUR_NOISE = 0.25  # half-width of the uniform noise, as in the paper
TURN_EXEMPLARS = 4  # of each side, as in the paper
# What the long sleeves of a pullover add to a T-shirt, added to a dress.
FASHION_ARITHMETIC = ("Pullover", "T-shirt/top", "Dress")


def class_positions(names: Sequence[str], classes: Sequence[str], key: str) -> list[int]:
    """Positions of `names` among the data set's `classes`.

    Args:
        names: of classes.
        classes: of the data set.
        key: the key of params.yaml's `paper` that named them, for the message.

    Raises:
        ConfigError: a name that is no class.
    """
    for name in names:
        if name not in classes:
            raise ConfigError(
                f"params.yaml: paper.{key} names {name!r}: must be a class of the data set:"
                f" {', '.join(classes)}"
            )
    return [list(classes).index(name) for name in names]


def arithmetic_classes(names: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """The classes A, B and C of A - B + C.

    Args:
        names: of the three; none: Fashion-MNIST's Pullover, T-shirt/top and Dress if the data set
            has them, or else its first three classes.
        classes: of the data set.

    Returns:
        Their positions; None if there are fewer than three classes to choose from.

    Raises:
        ConfigError: a name that is no class.
    """
    names = names or (
        FASHION_ARITHMETIC if set(FASHION_ARITHMETIC) <= set(classes) else classes[:3]
    )
    return class_positions(names, classes, "arithmetic") if len(names) == 3 else None


def exemplars(probabilities: Floats, label: int, count: int = EXEMPLARS) -> Positions:
    """The samples of a class that the classifier is surest of, surest first.

    Args:
        probabilities: N x num_classes, 0 to 1. Of equals the earlier sample is taken.
        label: the class; it must be a sample's likeliest.
        count: how many at most.
    """
    order = np.argsort(-probabilities[:, label], kind="stable")
    return order[probabilities[order].argmax(axis=1) == label][:count]


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """A - B + C of three concepts (section 6.3.2, figure 7).

    Attributes:
        exemplars: 3 concepts x 3 x C x H x W.
        means: 3 x C x H x W, made of the exemplars' mean latent vectors.
        pixel_means: 3 x C x H x W, the means of the exemplars' pixels.
        result: 9 x C x H x W, made of A - B + C in the latent space, at 4, and of its neighbours.
        pixel_result: C x H x W, A - B + C of the pixel means, clipped.
    """

    exemplars: data.Images
    means: data.Images
    pixel_means: data.Images
    result: data.Images
    pixel_result: data.Images


def arithmetic(
    generator: Generator, z: Tensor, images: data.Images, chosen: Sequence[Positions], seed: int
) -> Arithmetic:
    """Add and subtract the means of three concepts, in the latent space and, to compare, in pixels.

    Args:
        generator: makes the images of the new latent vectors.
        z: N x z_dim.
        images: of `z`, uint8 N x C x H x W.
        chosen: the exemplars' positions in `z`, for A, for B and for C.
        seed: of the neighbours' noise.
    """
    means = torch.stack([z[positions].mean(dim=0) for positions in chosen])
    pixels = np.stack([images[positions].mean(axis=0) for positions in chosen])
    pixel_result = np.clip(pixels[0] - pixels[1] + pixels[2], 0, 255)
    return Arithmetic(
        exemplars=np.stack([images[positions] for positions in chosen]),
        means=sampling.generate(generator, means),
        pixel_means=np.rint(pixels).astype(np.uint8),
        result=sampling.generate(generator, neighbours(means[0] - means[1] + means[2], seed)),
        pixel_result=np.rint(pixel_result).astype(np.uint8),
    )


def neighbours(z: Tensor, seed: int) -> Tensor:
    """A latent vector, z_dim, among eight others with uniform noise of +-0.25 added.

    Returns:
        9 x z_dim, the vector itself at 4.
    """
    generator = rng.generator(seed, "paper neighbours")
    noise = sampling.draw((9, len(z)), "uniform", generator) * NEIGHBOUR_NOISE
    noise[4] = 0
    return z + noise


def centres(images: data.Images) -> npt.NDArray[np.float64]:
    """The horizontal centre of mass of what differs from the background, in each image.

    The background is the median value of the border, channel by channel. An image of background
    alone has its centre in the middle.

    Returns:
        float64, N: pixels to the right of the first column.
    """
    pixels = images.astype(np.float64)
    count, channels, _, width = pixels.shape
    border = (pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, 1:-1, 0], pixels[:, :, 1:-1, -1])
    background = np.median(np.concatenate(border, axis=2), axis=2).reshape(count, channels, 1, 1)
    columns = np.abs(pixels - background).sum(axis=(1, 2))
    mass = columns.sum(axis=1)
    return np.where(
        mass > 0, columns @ np.arange(width) / np.where(mass > 0, mass, 1), (width - 1) / 2
    )


def widest(centre: Floats, groups: Positions, at_least: int) -> Positions:
    """The samples of the group whose centres differ most: with the largest standard deviation.

    Args:
        centre: N, of each sample.
        groups: N, the group of each sample.
        at_least: groups with fewer samples than this are skipped; if none is large enough, all
            samples are one group.

    Returns:
        Positions, rising.
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    large = [positions for positions in members if len(positions) >= at_least]
    everything = np.arange(len(groups))
    return max(large, key=lambda positions: float(centre[positions].std()), default=everything)


@dataclass(frozen=True, eq=False)
class Turn:
    """A latent direction that moves an image's content to the right (section 6.3.2, figure 8).

    Attributes:
        vector: z_dim, from the mean of the four samples that lean left to that of the four that
            lean right.
        left: 4 positions, the furthest left first.
        right: 4 positions, the furthest right first.
    """

    vector: Tensor
    left: Positions
    right: Positions


def turn(z: Tensor, centre: Floats, positions: Positions) -> Turn:
    """The turn vector from the four samples furthest left to the four furthest right.

    Args:
        z: N x z_dim.
        centre: N, of the images of `z`.
        positions: which of them to choose from, at least 8; of one class, so that the vector is not
            the way to another.
    """
    order = positions[np.argsort(centre[positions], kind="stable")]
    left = order[:TURN_EXEMPLARS]
    right = np.flip(order)[:TURN_EXEMPLARS].copy()  # torch takes no negative strides
    return Turn(z[right].mean(dim=0) - z[left].mean(dim=0), left, right)


def moved(generator: Generator, z: Tensor, vector: Tensor, weights: Sequence[float]) -> data.Images:
    """Images of each latent vector plus each weight times `vector`.

    Returns:
        uint8, N x len(weights) x C x H x W.
    """
    path = z[:, None] + torch.tensor(weights)[None, :, None] * vector
    images = sampling.generate(generator, path.flatten(0, 1))
    return images.reshape(len(z), len(weights), *images.shape[1:])

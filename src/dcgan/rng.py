"""Every random number of the pipeline.

A draw depends on (seed, stream, step) and on nothing else, so no random state is ever saved
or restored: a run that is killed and started again draws what it would have drawn.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def derive(seed: int, stream: str, step: int = 0) -> int:
    """32-bit seed for one purpose (`stream`) at one moment (`step`).

    32 bits because torch's CPU generators use no more.
    """
    # The 0 at the end stands for the one process; without it every number would be another.
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}/0".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def generator(
    seed: int, stream: str, step: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A fresh generator for one purpose at one moment."""
    return torch.Generator(device).manual_seed(derive(seed, stream, step))


def epoch_order(num_images: int, seed: int, epoch: int) -> torch.Tensor:
    """The order in which `epoch` visits the images: int64, a permutation of 0 .. num_images - 1."""
    return torch.randperm(num_images, generator=generator(seed, "order", epoch))


def choose(num: int, count: int, seed: int, stream: str, step: int = 0) -> torch.Tensor:
    """Draw `count` different numbers of 0 .. num - 1, all of them if `num` is smaller.

    Returns:
        int64, in random order.
    """
    return torch.randperm(num, generator=generator(seed, stream, step))[:count]


def shares(counts: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """How many of `count` each group gets, in proportion to `counts`.

    Where a share is no whole number it is rounded down; what is then left goes to the groups with
    the largest remainders, one each, the first of equals.
    """
    whole, remainders = np.divmod(count * counts, counts.sum())
    whole[np.argsort(-remainders, kind="stable")[: count - whole.sum()]] += 1
    return whole


def choose_of_each(
    labels: npt.NDArray[Any], count: int, seed: int, stream: str
) -> npt.NDArray[np.int64]:
    """Draw `count` positions, from each class in its share; all of them where there are no more.

    Use it instead of `[:count]`: prepared images may be sorted by class.

    Args:
        labels: N integers.
        count: number of positions to draw.
        seed: of the draw.
        stream: its purpose.

    Returns:
        int64, in rising order.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    drawn = [
        np.flatnonzero(labels == label)[choose(int(held), int(share), seed, stream, int(label))]
        for label, held, share in zip(classes, counts, shares(counts, count), strict=True)
    ]
    return np.sort(np.concatenate(drawn))

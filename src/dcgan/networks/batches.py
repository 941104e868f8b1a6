"""Batches as networks take them: floats, channels-last, of one size.

In a batch of another size, a network's last bits would differ.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan import data


def padded(images: npt.NDArray[Any] | Tensor, size: int) -> Iterator[tuple[Tensor, int]]:
    """Batches of exactly `size` rows, in order; zeros fill up the last one.

    Args:
        images: N x ..., images or latent vectors; mapped images are read a batch at a time.
        size: rows of each batch, at least 1.

    Yields:
        The batch, `size` x ..., of the same dtype and on the same device, and how many of its rows
        are real: the others are to be dropped from the result.
    """
    for start in range(0, len(images), size):
        part = images[start : start + size]
        # A copy, because torch warns about read-only arrays, such as mapped ones.
        rows = part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
        yield torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])]), len(rows)


def on_device(images: npt.NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Images as a network on `device` takes them.

    They move there as bytes, a quarter of what floats would be.

    Args:
        images: uint8, N x C x H x W; of a tensor in pinned memory the copy is not waited for.
        device: of the network.

    Returns:
        float32 in [-1, 1], channels-last.
    """
    # A copy, because torch warns about read-only arrays, such as mapped ones.
    pixels = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    moved = pixels.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    return data.to_float(moved)

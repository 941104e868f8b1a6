"""The batches of a training: rows of the mapped array, gathered one batch ahead by a thread."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan import data, rng
from dcgan.networks.batches import on_device
from dcgan.training.ranks import ALONE, Ranks

# Of the GPU's free memory that the images may take; what is left is for the training.
RESIDENT_SHARE = 0.4
# One is filled while another is in use; a copy to a GPU may still be reading the third.
BUFFERS = 3
GROUP = 64  # steps whose rows are computed together


def batches(
    images: data.Images,
    steps: range,
    *,
    steps_per_epoch: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Iterator[Tensor]:
    """The batch of each step, in turn; of several processes, the rows of this one.

    Images stay uint8 until they are on the device: a quarter of the bytes to move. On a GPU that
    has the memory for them, all of them are moved there once.

    Args:
        images: N x C x H x W, memory-mapped.
        steps: numbers of the steps, from 0 at the first step of the training.
        steps_per_epoch: after so many steps the images come in a new order.
        batch_size: images in a batch of all processes; the last one of an epoch may have fewer.
        seed: of the orders.
        device: where the batches go.
        ranks: the processes.

    Yields:
        float32, N x C x H x W in [-1, 1], channels-last.
    """

    @functools.lru_cache(maxsize=1)
    def order(epoch: int, group: int) -> npt.NDArray[np.int64]:
        first = group * GROUP * batch_size
        positions = np.arange(first, min(first + GROUP * batch_size, len(images)))
        return rng.epoch_rows(positions, len(images), seed, epoch)

    def rows(step: int) -> npt.NDArray[np.int64]:
        epoch, index = divmod(step, steps_per_epoch)
        group, within = divmod(index, GROUP)
        batch = order(epoch, group)[within * batch_size : (within + 1) * batch_size]
        return batch[ranks.rows(len(batch))]

    if fits(images.nbytes, device):
        resident = torch.from_numpy(np.array(images)).to(device)
        for step in steps:
            chosen = torch.from_numpy(rows(step))
            yield on_device(resident[chosen.to(device, non_blocking=True)], device)
        return

    shape = (batch_size, *images.shape[1:])
    pinned = device.type == "cuda"
    buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=pinned) for _ in range(BUFFERS)]

    def gather(step: int) -> Tensor:
        chosen = rows(step)
        buffer = buffers[step % BUFFERS][: len(chosen)]
        # Other modes would first gather into an array of their own.
        np.take(images, chosen, axis=0, out=buffer.numpy(), mode="clip")
        return buffer

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        ahead = [pool.submit(gather, step) for step in steps[:1]]
        for step in steps:
            batch = ahead.pop().result()
            ahead += [pool.submit(gather, step + 1)] if step + 1 in steps else []
            yield on_device(batch, device)


def fits(num_bytes: int, device: torch.device) -> bool:
    """Whether so many bytes may stay on a GPU; on a CPU they are in its memory anyway."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= RESIDENT_SHARE * free

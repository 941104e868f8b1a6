"""Every random number of the pipeline.

A draw depends on (seed, stream, step) and on nothing else, so no random state is ever saved
or restored: a run that is killed and started again draws what it would have drawn.
"""

import hashlib

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

"""Latent vectors and the images made of them.

Image i depends on (seed, i) alone, not on the number of images.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from dcgan import data, rng
from dcgan.networks import batches, models
from dcgan.networks.models import Generator

INNER_BATCH = 100  # rows; see `batches` why every batch has this size


def draw(shape: tuple[int, ...], distribution: str, generator: torch.Generator) -> Tensor:
    """Latent values from N(0, 1) (`normal`) or U(-1, 1) (`uniform`), float32."""
    if distribution == "normal":
        return torch.randn(shape, generator=generator, device=generator.device)
    return torch.rand(shape, generator=generator, device=generator.device) * 2 - 1


def latents(
    indices: Iterable[int], *, seed: int, z_dim: int, distribution: str, stream: str = "sample"
) -> Tensor:
    """The latent vectors of some images, each drawn by a random generator of its own.

    Args:
        indices: numbers of the images, from 0; the same number gives the same vector in every call.
        seed: of the draws.
        z_dim: values in a vector.
        distribution: normal, N(0, 1), or uniform, U(-1, 1).
        stream: name of the stream of random numbers, one for each purpose.

    Returns:
        float32, len(indices) x z_dim, on the CPU.
    """
    return torch.stack(
        [draw((z_dim,), distribution, rng.generator(seed, stream, index)) for index in indices]
    )


@torch.no_grad()
def generate(generator: Generator, z: Tensor) -> data.Images:
    """Images for latent vectors, in evaluation mode and float32: uint8 N x C x H x W."""
    device = next(generator.parameters()).device
    with models.evaluating(generator):
        images = [
            data.to_uint8(generator(batch.to(device))[:real]).cpu()
            for batch, real in batches.padded(z, INNER_BATCH)
        ]
    return torch.cat(images).contiguous().numpy()


def sample(generator: Generator, count: int, *, seed: int, stream: str = "sample") -> data.Images:
    """The first `count` images of a seed: uint8 count x C x H x W."""
    a = generator.architecture
    z = latents(
        range(count), seed=seed, z_dim=a.z_dim, distribution=a.z_distribution, stream=stream
    )
    return generate(generator, z)

"""Networks made by hand, of which the paper's experiments are known in closed form."""

import numpy as np
import torch
from torch import nn

from dcgan import rng
from dcgan.config.sections import DiscriminatorParams, GeneratorParams
from dcgan.networks.models import Discriminator, Generator
from dcgan.paper import concepts
from dcgan.training import fresh


def generator(**changes) -> Generator:
    """A generator of 16 x 16 images with changed parameters."""
    values = {
        "z_dim": 4, "z_distribution": "normal", "start": "projection", "start_size": 4,
        "start_norm": "none", "start_activation": True, "channels": [4, 2], "strides": [2, 2],
        "kernel": 4, "padding": "same", "norm": "none", "norm_order": "before",
        "norm_momentum": 0.1, "norm_eps": 1e-3, "activation": "relu", "slope": 0.2, "bias": False,
        "init": "glorot",
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return fresh.generator(GeneratorParams(**{**values, **changes}), 1).eval()


def discriminator(size: int = 4, **changes) -> Discriminator:
    """A discriminator of images of this side with changed parameters."""
    values = {
        "channels": [4, 1], "strides": [1, 1], "kernel": 1, "padding": "symmetric",
        "norm": "none", "norm_momentum": 0.1, "norm_eps": 1e-3, "slope": 0.3,
        "dropout": [0.0, 0.0], "bias": False, "head": "linear", "spectral_norm": False,
        "init": "glorot",
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return fresh.discriminator(DiscriminatorParams(**{**values, **changes}), 1, size).eval()


class Pixels(nn.Module):
    """A generator whose latent vector is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.view(-1, 1, 4, 4) * self.weight


class Blob(nn.Module):
    """A generator of a blob: the first latent value is its place, the second its brightness."""

    architecture = generator().architecture

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        place = 10 + 5 * torch.tanh(z[:, 0]) * self.weight
        row = torch.exp(-((torch.arange(21.0) - place[:, None]) ** 2) / 4) * (
            1 + torch.sigmoid(z[:, 1:2])
        )
        image = row[:, None, None, :] * (torch.arange(21) - 10).abs().lt(4)[None, None, :, None]
        return image.clamp(max=2) - 1


def planted() -> Generator:
    """Map u of the start is z_u where positive, and only map 1 reaches the image."""
    net = generator()
    with torch.no_grad():
        net.start[0].weight.copy_(torch.eye(4).repeat_interleave(16, dim=0))
        for layer, unit in ((net.layers[0], 1), (net.layers[2], 0)):
            kept = layer.weight[unit, 0].abs()
            layer.weight.zero_()
            layer.weight[unit, 0] = kept
    return net


def normal(count: int, width: int, seed: int = 0) -> torch.Tensor:
    """Latent vectors, count x width."""
    return torch.randn((count, width), generator=rng.generator(seed, "test"))


def state(network: nn.Module) -> tuple:
    """What an experiment must leave as it was: values, mode and hooks."""
    hooks = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for m in network.modules()
    ]
    return [value.clone() for value in network.state_dict().values()], network.training, sum(hooks)


def same(before: tuple, after: tuple) -> bool:
    """Whether two states are equal."""
    return all(map(torch.equal, before[0], after[0])) and before[1:] == after[1:]


def classify(images: np.ndarray) -> np.ndarray:
    """Three classes by the place of the blob: surest where it stands at 6, 10 or 14.

    The probabilities do not add up to 1; no test needs that.
    """
    return np.exp(-((concepts.centres(images)[:, None] - np.array([6, 10, 14])) ** 2))


def noise_images(count: int, channels: int = 1) -> np.ndarray:
    """Noise, count x channels x 16 x 16."""
    return np.random.default_rng(0).integers(0, 256, (count, channels, 16, 16), np.uint8)

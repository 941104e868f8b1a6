"""GAN losses on logits. D wants real logits high and fake logits low; G wants fake logits high."""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


def bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Sum of the two binary cross entropies, each a mean over its batch (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """Non-saturating loss, -log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss (Lim and Ye 2017, eq. 4; Miyato et al. 2018, eq. 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """What goes with the hinge loss: -mean of the logits (Miyato et al. 2018, eq. 17)."""
    return -fake.mean()


class Loss(NamedTuple):
    """The two sides of one game."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


LOSSES = {
    "bce": Loss(bce_discriminator, bce_generator),
    "hinge": Loss(hinge_discriminator, hinge_generator),
}

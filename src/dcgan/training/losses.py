"""GAN losses on logits. D wants real logits high and fake logits low; G wants fake logits high.

D's side takes `smoothing`, one-sided (Salimans et al. 2016, section 3.4): real labels are 1 -
smoothing instead of 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


def cross_entropy_discriminator(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """Two binary cross entropies, each a mean over its batch (Goodfellow et al. 2014, eq. 1)."""
    # (1 - s) softplus(-x) + s softplus(x) = softplus(-x) + s x
    return (F.softplus(-real) + smoothing * real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    """log(1 - D(G(z))), as in Goodfellow et al. 2014, eq. 1.

    Its gradient vanishes where D is sure.
    """
    return -F.softplus(fake).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """Half the squared distance from the labels 1 and 0 (Mao et al. 2017, eq. 9)."""
    return ((real - (1 - smoothing)).square().mean() + fake.square().mean()) / 2


def least_squares_generator(fake: Tensor) -> Tensor:
    """Half the squared distance from 1 (Mao et al. 2017, eq. 9)."""
    return (fake - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """Hinge loss (Lim and Ye 2017, eq. 4; Miyato et al. 2018, eq. 16).

    It has no labels to smooth.
    """
    assert smoothing == 0
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """What goes with the hinge loss: -mean of the logits (Miyato et al. 2018, eq. 17)."""
    return -fake.mean()


class Loss(NamedTuple):
    """The two sides of one game."""

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor], Tensor]


LOSSES = {
    "non_saturating": Loss(cross_entropy_discriminator, non_saturating_generator),
    "minimax": Loss(cross_entropy_discriminator, minimax_generator),
    "least_squares": Loss(least_squares_discriminator, least_squares_generator),
    "hinge": Loss(hinge_discriminator, hinge_generator),
}

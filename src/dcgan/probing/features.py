"""Features that a discriminator has learnt, for the probe.

Every convolution's map after its activation, max-pooled to 4 x 4, flattened and concatenated, not
scaled.

Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", 2015,
section 5.1.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from dcgan.data import Images, to_float
from dcgan.networks.batches import on_device
from dcgan.networks.models import Discriminator

POOLED = 4  # side of every map after pooling


@torch.inference_mode()
def extract(
    network: Discriminator | None, images: Images, batch_size: int = 100
) -> npt.NDArray[np.float32]:
    """Features of images, N x D.

    Args:
        network: a discriminator; None: the features are the pixels, in [-1, 1].
        images: uint8, N x C x H x W.
        batch_size: images at once.
    """
    if network is None:
        return to_float(images).flatten(1).numpy()
    features, device = torch.empty(0, 0), next(network.parameters()).device
    for start in range(0, len(images), batch_size):
        # Small batches that stay in the processor's cache, with the channels last: a third faster.
        batch = on_device(images[start : start + batch_size], device)
        pooled = pool_features(network.features(batch))
        if start == 0:
            # Filled as we go: a list of batches and its concatenation would take the memory twice.
            features = torch.empty(len(images), pooled.shape[1])
        features[start : start + len(pooled)] = pooled
    return features.numpy()


def squared_length(features: npt.NDArray[np.float32]) -> float:
    """Mean over N of |x|^2, the unit of C: C in this unit is the same for features of any scale."""
    return float(np.einsum("nd,nd->", features, features, dtype=np.float64) / len(features))


def pool_features(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Max-pool each map to 4 x 4, flatten and concatenate.

    Args:
        maps: N x C x H x W each, with a C of its own.

    Returns:
        N x (16 times the sum of all C).
    """
    return torch.cat([F.adaptive_max_pool2d(layer, POOLED).flatten(1) for layer in maps], dim=1)


@torch.no_grad()
def recompute_batch_norm(network: Discriminator, images: Images, batch_size: int = 500) -> None:
    """Replace the running statistics of D's batch norms by those of all the images.

    They are the means over batches of mean and variance. What training leaves is an average over
    the last few hundred batches of real and of generated images, each weighted by its age.

    Source: the paper's code for SVHN; Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 2.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for start in range(0, len(images) if norms else 0, batch_size):
        network.features(on_device(images[start : start + batch_size], norms[0].weight.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

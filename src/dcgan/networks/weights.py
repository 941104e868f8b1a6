"""A network's plain weights: those of an export, whose spectral norm is already divided out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dcgan.networks.models import evaluating

SPECTRAL_STEPS = 15  # of the power method, as many as torch takes for the first weights


def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights for an export; those with spectral norm are already divided by it."""
    weights = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if ".parametrizations." not in name
    }
    # In training mode, reading a normalised weight changes the estimate of its singular value.
    with evaluating(network):
        for name, module in network.named_modules():
            # Not `remove_parametrizations` on a copy: copies share their class, and the original
            # would lose its weight too.
            if parametrize.is_parametrized(module, "weight"):
                weights[f"{name}.weight"] = module.weight.detach()
    return weights


@torch.no_grad()
def load_plain_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network the weights of another one of the same architecture.

    Args:
        network: where there is spectral norm, the largest singular values are estimated anew.
        weights: as `plain_weights` makes them.
    """
    own, was_training = network.state_dict(), network.training
    network.train()  # only then does reading a normalised weight improve the estimate
    for name, tensor in weights.items():
        module_name, _, key = name.rpartition(".")
        module = network.get_submodule(module_name)
        if not parametrize.is_parametrized(module, key):
            own[name].copy_(tensor)
            continue
        own[f"{module_name}.parametrizations.{key}.original"].copy_(tensor)
        for _ in range(SPECTRAL_STEPS):
            getattr(module, key)
    network.train(was_training)

"""A network as a table: its layers, their shapes and parameters."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dcgan.networks.architecture import GeneratorArchitecture
from dcgan.networks.layers import Dropout
from dcgan.networks.models import Discriminator, Generator, evaluating

SHOWN = (
    nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.Tanh, nn.Flatten,
    nn.Unflatten, nn.ReLU, nn.LeakyReLU, nn.SELU, Dropout,
)  # fmt: skip


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Trainable parameters, and BatchNorm's running statistics (which Keras counts as well)."""
    running = sum(
        b.numel()
        for name, b in network.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    )
    return sum(p.numel() for p in network.parameters() if p.requires_grad), running


@torch.no_grad()
def layers(network: Generator | Discriminator) -> list[tuple[str, str, int]]:
    """Its layers in the order in which they run.

    Returns:
        Kind, output shape C x H x W and number of parameters, running statistics not counted.
    """
    rows: list[tuple[str, str, int]] = []

    def note(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        kind = (
            type(layer).__bases__[0].__name__
            if parametrize.is_parametrized(layer)
            else type(layer).__name__
        )
        shape = " x ".join(map(str, output.shape[1:]))
        rows.append((kind, shape, sum(parameter.numel() for parameter in layer.parameters())))

    shown = [layer for layer in network.modules() if isinstance(layer, SHOWN)]
    hooks = [layer.register_forward_hook(note) for layer in shown]
    a = network.architecture
    shape: tuple[int, ...] = (a.image_channels, a.image_size, a.image_size)
    if isinstance(a, GeneratorArchitecture):
        shape = (a.z_dim,)
    with evaluating(network):  # batch norm takes no statistics of one image
        network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return rows

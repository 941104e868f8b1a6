"""What a step of a training changes: both networks, the average, the optimizers, the count."""

import dataclasses

import torch
from torch import Tensor, nn

from dcgan import rng
from dcgan.config.sections import Training
from dcgan.networks.models import Discriminator, Generator

Row = dict[str, float]  # of history.csv


class Side:
    """One of the two networks with its optimizer, and the tensors that a step needs of it.

    They are listed once, so that a step does not walk through the modules.
    """

    def __init__(self, name: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.name, self.network, self.optimizer = name, network, optimizer
        self.parameters: list[Tensor] = list(network.parameters())
        self.buffers = list(network.buffers())
        self.float_buffers = [buffer for buffer in self.buffers if buffer.is_floating_point()]


@dataclasses.dataclass
class State:
    """Everything that a step changes."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator  # exponential moving average of the generator's weights; see `finish_ema`
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    step: int = 0  # steps taken
    history: list[Row] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.g = Side("G", self.generator, self.opt_g)
        self.d = Side("D", self.discriminator, self.opt_d)
        # 1 from the first step on that found something not finite; no weight moves any more.
        self.bad = torch.zeros((), device=self.g.parameters[0].device)
        self.opt_g.found_inf = self.opt_d.found_inf = self.bad  # type: ignore[attr-defined]  # torch reads it so
        self.streams = rng.Streams(self.bad.device)
        # Each process of a training finds its own; spectral norm's vectors are equal anyway.
        self.statistics: list[Tensor] = [
            buffer
            for network in (self.generator, self.discriminator)
            for name, buffer in network.named_buffers()
            if name.endswith(("running_mean", "running_var"))
        ]
        self.ema_parameters: list[Tensor] = list(self.ema.parameters())
        self.ema_buffers = list(self.ema.buffers())


@torch.no_grad()
def update_ema(state: State, half_life: float) -> None:
    """Move the moving average's weights towards G's.

    Args:
        state: of which both are.
        half_life: steps after which a weight counts half, more than 0. Early on it is shorter, so
            that the first weights are forgotten.
    """
    decay = min(0.5 ** (1 / half_life), (1 + state.step) / (10 + state.step))
    torch._foreach_lerp_(state.ema_parameters, state.g.parameters, 1 - decay)


@torch.no_grad()
def finish_ema(state: State, training: Training) -> None:
    """Give the average G's buffers, and without an average G's weights too.

    For who looks at it: the steps do not keep it up to date, which would cost a copy each.
    """
    torch._foreach_copy_(state.ema_buffers, state.g.buffers)
    if not training.ema_half_life:
        torch._foreach_copy_(state.ema_parameters, state.g.parameters)

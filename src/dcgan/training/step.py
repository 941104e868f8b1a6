"""What a training step changes, and what its updates share: its batch, its draws, whose turn it is."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from dcgan import rng
from dcgan.config.sections import AllParams
from dcgan.errors import Diverged
from dcgan.networks import sampling
from dcgan.networks.models import Discriminator, Generator
from dcgan.training.augment import augment
from dcgan.training.losses import LOSSES

Row = dict[str, float]


@dataclasses.dataclass
class State:
    """Everything that a step changes."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator  # exponential moving average of the generator's weights
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    step: int = 0
    history: list[Row] = dataclasses.field(default_factory=list)


class Step:
    """What one step's updates share: its batch, its draws, whose turn it is and the way to update."""

    def __init__(
        self, state: State, params: AllParams, real: Tensor, precision: str, measure: bool
    ) -> None:
        self.state, self.params, self.real, self.precision, self.measure = (
            state,
            params,
            real,
            precision,
            measure,
        )
        self.loss = LOSSES[params.training.loss]
        self.latent = rng.generator(params.seed, "z", state.step)
        n = params.training.discriminator_steps
        one = params.training.update == "one_network"
        self.batches = n + 1 if one else n  # from one update of G to the next
        self.turn_g = state.step % (n + 1) == 0 if one else (state.step + 1) % n == 0
        self.turn_d = not (one and self.turn_g)
        # A generator for each phase, so that a phase which is only looked at changes nothing for
        # the other.
        self.dropout = {
            phase: rng.generator(params.seed, f"dropout {phase}", state.step, device=real.device)
            for phase in "dg"
        }
        self.augment = {
            phase: rng.generator(params.seed, f"augment {phase}", state.step) for phase in "dg"
        }

    def z(self) -> Tensor:
        """Fresh latent vectors, one an image of the batch; drawn on the CPU, so that every device sees the same."""
        p = self.params.generator
        return sampling.draw((len(self.real), p.z_dim), p.z_distribution, self.latent).to(
            self.real.device
        )

    def logits(self, images: Tensor, phase: str) -> Tensor:
        """What D says of images, in D's phase (`d`) or in G's (`g`)."""
        if self.params.training.diff_augment:
            images = augment(images, self.params.training.diff_augment, self.augment[phase])
        return self.state.discriminator(images, self.dropout[phase])

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """One context a phase: autocast keeps its copies of the weights until the end, also when an update has changed them."""
        return torch.autocast(
            self.real.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def loss_d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D's side of the game."""
        return self.loss.discriminator(
            real_logits, fake_logits, self.params.training.label_smoothing
        )

    def r1(self) -> Tensor | float:
        """R1 now and then: gamma / 2 E |dD(x)/dx|^2 at real images (Mescheder et al. 2018, eq. 9; lazily: Karras et al. 2020)."""
        t = self.params.training
        if not t.r1_gamma or self.state.step % t.r1_every:
            return 0.0
        real = self.real.detach().requires_grad_()
        # In float32: the square of a gradient in bfloat16 has two digits.
        (slope,) = torch.autograd.grad(self.logits(real, "d").sum(), real, create_graph=True)
        return t.r1_gamma / 2 * t.r1_every * slope.square().sum(dim=(1, 2, 3)).mean()

    def gradients(self, loss: Tensor, network: nn.Module, name: str) -> tuple[list[Tensor], Tensor]:
        """Gradients of `loss` for `network` alone, and their norm.

        Raises:
            Diverged: the loss, a gradient or one of the network's buffers is not finite.
        """
        parameters = list(network.parameters())
        # The other network's weights get no gradient, so none is computed for them. D's may be
        # needed twice.
        gradients = list(torch.autograd.grad(loss, parameters, retain_graph=True))
        norm = get_total_norm(gradients)
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        buffer_norm = get_total_norm(buffers) if buffers else norm
        if not torch.isfinite(loss + norm + buffer_norm):
            found = {"loss": loss, "gradient norm": norm, "buffer norm": buffer_norm}
            what = ", ".join(
                f"{key} {float(value.detach()):g}"
                for key, value in found.items()
                if not torch.isfinite(value)
            )
            raise Diverged(
                f"step {self.state.step + 1}: {name} is not finite ({what}): lower lr, or use precision: float32"
            )
        return gradients, norm

    def apply(
        self, optimizer: torch.optim.Optimizer, network: nn.Module, gradients: list[Tensor]
    ) -> None:
        """Let the optimizer take its step."""
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()

    def update_d(self, loss: Tensor) -> Tensor:
        """D's update, on its turn; returns the norm of its gradient."""
        s = self.state
        gradients, norm = self.gradients(loss + self.r1(), s.discriminator, "D")
        if self.turn_d:
            self.apply(s.opt_d, s.discriminator, gradients)
        return norm

    def update_g(self, loss: Tensor) -> Tensor:
        """G's update, on its turn; returns the norm of its gradient."""
        s = self.state
        gradients, norm = self.gradients(loss, s.generator, "G")
        if self.turn_g:
            self.apply(s.opt_g, s.generator, gradients)
        return norm

    @contextlib.contextmanager
    def looking(self, *, unless: bool) -> Iterator[None]:
        """Run passes for their figures alone: afterwards both networks' buffers are what they were. Does nothing if `unless`."""
        buffers = (
            [] if unless else [*self.state.generator.buffers(), *self.state.discriminator.buffers()]
        )
        kept = [buffer.clone() for buffer in buffers]
        yield
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, half_life: float, step: int) -> None:
    """Move the moving average towards the network.

    Args:
        ema: the average.
        network: what is averaged.
        half_life: steps after which a weight counts half; 0: the average is the network. Early on
            it is shorter, so that the first weights are forgotten.
        step: steps taken before this one.
    """
    decay = min(0.5 ** (1 / half_life), (1 + step) / (10 + step)) if half_life else 0.0
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - decay)
    for mine, theirs in zip(ema.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)

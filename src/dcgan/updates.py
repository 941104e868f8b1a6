"""One step: three ways to update the discriminator and the generator.

The order of the two updates, and which fakes each of them sees, is what sets the reference systems apart.
"""

import contextlib
import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import get_total_norm

from dcgan import rng, sampling
from dcgan.config import Params
from dcgan.errors import Diverged
from dcgan.losses import LOSSES
from dcgan.models import Discriminator, Generator

Row = dict[str, float]
COLUMNS = ("epoch", "step", "loss_d", "loss_g", "d_real", "d_fake_before", "d_fake_after", "grad_norm_d", "grad_norm_g")


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


def train_step(state: State, params: Params, real: Tensor, precision: str, *, measure: bool) -> Row | None:
    """One update of D and one of G. Returns losses, probabilities and gradient norms when `measure` is set."""
    step = Step(state, params, real, precision)
    row = UPDATES[params.training.update](step, measure)
    update_ema(state.ema, state.generator, params.training.ema_decay, state.step)
    state.step += 1
    if not measure:
        return None  # note: every float() below waits for the GPU
    figures = {name: float(value.detach()) for name, value in row.items()}
    for name, value in figures.items():
        if not math.isfinite(value):
            raise Diverged(f"step {state.step}: {name} is not finite ({value}): lower lr, or use precision: float32")
    return figures


class Step:
    """What one step's updates share: its batch, its draws and the way to differentiate."""

    def __init__(self, state: State, params: Params, real: Tensor, precision: str) -> None:
        self.state, self.params, self.real, self.precision = state, params, real, precision
        self.loss = LOSSES[params.training.loss]
        self.dropout = rng.generator(params.seed, "dropout", state.step, device=real.device)
        self._latent = rng.generator(params.seed, "z", state.step)

    def z(self) -> Tensor:
        """Fresh latent vectors, one an image of the batch; drawn on the CPU, so that every device sees the same."""
        p = self.params.generator
        return sampling.draw((len(self.real), p.z_dim), p.z_distribution, self._latent).to(self.real.device)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """One context a phase: autocast keeps its copies of the weights until the end, also when an update has changed them."""
        return torch.autocast(self.real.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def gradients(self, loss: Tensor, network: nn.Module, name: str) -> tuple[list[Tensor], Tensor]:
        """Gradients of `loss` for `network` alone, and their norm.

        Raises:
            Diverged: the loss, a gradient or one of the network's buffers is not finite.
        """
        parameters = list(network.parameters())
        # The other network's weights get no gradient, so none is computed for them. D's may be needed twice.
        gradients = list(torch.autograd.grad(loss, parameters, retain_graph=True))
        norm = get_total_norm(gradients)
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        buffer_norm = get_total_norm(buffers) if buffers else norm
        if not torch.isfinite(loss + norm + buffer_norm):
            found = {"loss": loss, "gradient norm": norm, "buffer norm": buffer_norm}
            what = ", ".join(f"{key} {float(value.detach()):g}" for key, value in found.items() if not torch.isfinite(value))
            raise Diverged(f"step {self.state.step + 1}: {name} is not finite ({what}): lower lr, or use precision: float32")
        return gradients, norm

    def apply(self, optimizer: torch.optim.Optimizer, network: nn.Module, gradients: list[Tensor]) -> None:
        """Let the optimizer take its step."""
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def simultaneous(step: Step, measure: bool) -> dict[str, Tensor]:
    """Both gradients at the same parameters, then both updates (the TensorFlow tutorial)."""
    s = step.state
    with step.autocast():
        fake = s.generator(step.z())
        real_logits, fake_logits = s.discriminator(step.real, step.dropout), s.discriminator(fake, step.dropout)
        loss_d, loss_g = step.loss.discriminator(real_logits, fake_logits), step.loss.generator(fake_logits)
    gradients_d, norm_d = step.gradients(loss_d, s.discriminator, "D")
    gradients_g, norm_g = step.gradients(loss_g, s.generator, "G")
    step.apply(s.opt_d, s.discriminator, gradients_d)
    step.apply(s.opt_g, s.generator, gradients_g)
    after = fake_logits
    if measure:
        # Nothing here needs D after its update, so it is run once more, on copies of its buffers: looking must change nothing.
        buffers = {name: buffer.clone() for name, buffer in s.discriminator.named_buffers()}
        with torch.no_grad(), step.autocast():
            after = functional_call(s.discriminator, buffers, (fake, step.dropout))
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


def alternating(step: Step, measure: bool) -> dict[str, Tensor]:
    """D's update, real and fake apart; then G's on the same fakes through the new D (the PyTorch tutorial)."""
    s = step.state
    with step.autocast():
        fake = s.generator(step.z())
        # D sees fake.detach(): its loss must not move G.
        real_logits, fake_logits = s.discriminator(step.real, step.dropout), s.discriminator(fake.detach(), step.dropout)
        loss_d = step.loss.discriminator(real_logits, fake_logits)
    gradients, norm_d = step.gradients(loss_d, s.discriminator, "D")
    step.apply(s.opt_d, s.discriminator, gradients)
    with step.autocast():
        # D runs on `fake` again, after its own update: G answers the D of now.
        after = s.discriminator(fake, step.dropout)
        loss_g = step.loss.generator(after)
    gradients, norm_g = step.gradients(loss_g, s.generator, "G")
    step.apply(s.opt_g, s.generator, gradients)
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


def concatenated(step: Step, measure: bool) -> dict[str, Tensor]:
    """D's update on fake and real in one batch, fakes from G's running statistics; then G's on fresh fakes (the Keras books)."""
    s = step.state
    with torch.no_grad(), step.autocast():
        fake = s.generator.eval()(step.z())
        s.generator.train()
    with step.autocast():
        fake_logits, real_logits = s.discriminator(torch.cat([fake, step.real]), step.dropout).chunk(2)
        # One mean over 2B images, so half the sum of two means.
        loss_d = step.loss.discriminator(real_logits, fake_logits) / 2
    gradients, norm_d = step.gradients(loss_d, s.discriminator, "D")
    step.apply(s.opt_d, s.discriminator, gradients)
    with step.autocast():
        after = s.discriminator(s.generator(step.z()), step.dropout)
        loss_g = step.loss.generator(after)
    gradients, norm_g = step.gradients(loss_g, s.generator, "G")
    step.apply(s.opt_g, s.generator, gradients)
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


UPDATES = {"simultaneous": simultaneous, "alternating": alternating, "concatenated": concatenated}


def report(
    loss_d: Tensor, loss_g: Tensor, real: Tensor, fake: Tensor, fake_after: Tensor, norm_d: Tensor, norm_g: Tensor
) -> dict[str, Tensor]:
    """A step's figures: losses, D(x) and D(G(z)) as mean probabilities before and after D's update, gradient norms."""
    return {
        "loss_d": loss_d,
        "loss_g": loss_g,
        "d_real": real.sigmoid().mean(),
        "d_fake_before": fake.sigmoid().mean(),
        "d_fake_after": fake_after.sigmoid().mean(),
        "grad_norm_d": norm_d,
        "grad_norm_g": norm_g,
    }


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the moving average towards the network; early on it follows faster, so that it forgets the first weights."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - decay)
    for mine, theirs in zip(ema.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)

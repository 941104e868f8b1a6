"""One step: one batch, and an update of the discriminator, of the generator, or of both.

The order of the two updates, and which fakes each of them sees, is what sets the reference systems
apart: `UPDATES` has one function for each. They share a `Batch`.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from dcgan import rng
from dcgan.config.sections import Training
from dcgan.errors import Diverged
from dcgan.networks import sampling
from dcgan.networks.models import Discriminator, Generator, evaluating
from dcgan.training.augment import augment
from dcgan.training.losses import LOSSES

Row = dict[str, float]
Figures = dict[str, Tensor]  # scalars
FIGURES = (
    "loss_d", "loss_g",
    "d_real", "d_fake_before", "d_fake_after",  # mean D(x), D(G(z)) before and after D's update
    "grad_norm_d", "grad_norm_g",
)  # fmt: skip


@dataclasses.dataclass
class State:
    """Everything that a step changes."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator  # exponential moving average of the generator's weights
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    step: int = 0  # steps taken
    history: list[Row] = dataclasses.field(default_factory=list)


def train_step(
    state: State,
    real: Tensor,  # float32 N x C x H x W in [-1, 1]
    *,
    seed: int,
    training: Training,
    precision: str,  # float32 or bfloat16
    measure: bool,  # whether to return figures, which costs a wait for the GPU
) -> Row | None:
    """Update D, G or both on one batch; returns FIGURES where `measure` is set.

    Raises:
        Diverged: a loss, gradient, buffer or figure is not finite.
    """
    batch = Batch(state, real, seed, training, precision, measure)
    figures = UPDATES[training.update](batch)
    if batch.turn_g:
        images_between = batch.batches_between * len(real)
        update_ema(state.ema, state.generator, training.ema_half_life / images_between, state.step)
    state.step += 1
    if not measure:
        return None
    row = {name: float(figures[name].detach()) for name in FIGURES}
    for name, value in row.items():
        if not math.isfinite(value):
            raise Diverged(
                f"step {state.step}: {name} is not finite ({value}):"
                " lower lr, or use precision: float32"
            )
    return row


class Batch:
    """One batch of real images: the draws that go with it, whose turn it is, and how to update."""

    def __init__(
        self,
        state: State,
        real: Tensor,
        seed: int,
        training: Training,
        precision: str,
        measure: bool,
    ) -> None:
        self.state, self.real, self.training = state, real, training
        self.precision, self.measure = precision, measure
        self.loss = LOSSES[training.loss]
        self.latent = rng.generator(seed, "z", state.step)
        n = training.discriminator_steps
        one_network = training.update == "one_network"
        self.batches_between = n + 1 if one_network else n  # from one update of G to the next
        self.turn_g = state.step % (n + 1) == 0 if one_network else (state.step + 1) % n == 0
        self.turn_d = not (one_network and self.turn_g)
        # A generator for each phase: a phase that is run only for its figures must not change the
        # draws of the other.
        self.dropout = {
            phase: rng.generator(seed, f"dropout {phase}", state.step, device=real.device)
            for phase in "dg"
        }
        self.augment = {
            phase: rng.generator(seed, f"augment {phase}", state.step) for phase in "dg"
        }

    def z(self) -> Tensor:
        """Fresh latent vectors, N x z_dim; drawn on the CPU, so that every device sees the same."""
        a = self.state.generator.architecture
        return sampling.draw((len(self.real), a.z_dim), a.z_distribution, self.latent).to(
            self.real.device
        )

    def logits(self, images: Tensor, phase: str) -> Tensor:
        """D's logits of images, in D's phase (`d`) or in G's (`g`)."""
        if self.training.diff_augment:
            images = augment(images, self.training.diff_augment, self.augment[phase])
        return self.state.discriminator(images, self.dropout[phase])

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of one phase.

        Autocast keeps its copies of the weights until its end, also after an update has changed
        them: so each phase needs a context of its own.
        """
        return torch.autocast(
            self.real.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def loss_d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D's side of the game."""
        return self.loss.discriminator(real_logits, fake_logits, self.training.label_smoothing)

    def r1(self) -> Tensor | float:
        """R1, every `r1_every` steps and weighted for them: gamma / 2 E |dD(x)/dx|^2, x real.

        Mescheder et al. 2018, eq. 9; lazily: Karras et al. 2020.
        """
        gamma, every = self.training.r1_gamma, self.training.r1_every
        if not gamma or self.state.step % every:
            return 0.0
        real = self.real.detach().requires_grad_()
        # In float32: the square of a gradient in bfloat16 has two digits.
        (slope,) = torch.autograd.grad(self.logits(real, "d").sum(), real, create_graph=True)
        return gamma / 2 * every * slope.square().sum(dim=(1, 2, 3)).mean()

    def gradients(self, loss: Tensor, network: nn.Module, name: str) -> tuple[list[Tensor], Tensor]:
        """Gradients of `loss` for `network` alone, and their norm.

        Raises:
            Diverged: the loss, a gradient or one of the network's buffers is not finite.
        """
        parameters = list(network.parameters())
        # Gradients of this network's weights alone are computed. The graph is kept, because G's
        # loss may use it too.
        gradients = list(torch.autograd.grad(loss, parameters, retain_graph=True))
        norm = get_total_norm(gradients)
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        buffer_norm = get_total_norm(buffers) if buffers else norm
        if not torch.isfinite(loss + norm + buffer_norm):
            checked = {"loss": loss, "gradient norm": norm, "buffer norm": buffer_norm}
            not_finite = ", ".join(
                f"{key} {float(value.detach()):g}"
                for key, value in checked.items()
                if not torch.isfinite(value)
            )
            raise Diverged(
                f"step {self.state.step + 1}: {name} is not finite ({not_finite}):"
                " lower lr, or use precision: float32"
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
    def buffers_restored(self, *, when: bool) -> Iterator[None]:
        """Restore both networks' buffers after the body, if `when` is set.

        For passes that are run only for their figures.
        """
        networks = (self.state.generator, self.state.discriminator) if when else ()
        buffers = [buffer for network in networks for buffer in network.buffers()]
        copies = [buffer.clone() for buffer in buffers]
        yield
        for buffer, copy in zip(buffers, copies, strict=True):
            buffer.copy_(copy)


def simultaneous(batch: Batch) -> Figures:
    """Both gradients at the same parameters, then both updates (the TensorFlow tutorial)."""
    s = batch.state
    with batch.autocast():
        fake = s.generator(batch.z())
        real_logits, fake_logits = batch.logits(batch.real, "d"), batch.logits(fake, "d")
        loss_d, loss_g = batch.loss_d(real_logits, fake_logits), batch.loss.generator(fake_logits)
    gradients_d, norm_d = batch.gradients(loss_d + batch.r1(), s.discriminator, "D")
    gradients_g, norm_g = batch.gradients(loss_g, s.generator, "G")
    batch.apply(s.opt_d, s.discriminator, gradients_d)
    batch.apply(s.opt_g, s.generator, gradients_g)
    after = fake_logits
    if batch.measure:
        # Neither update needs the new D's logits; these are for the figures alone.
        with batch.buffers_restored(when=True), torch.no_grad(), batch.autocast():
            after = batch.logits(fake, "g")
    return figures_d(loss_d, real_logits, fake_logits, norm_d) | figures_g(loss_g, after, norm_g)


def alternating(batch: Batch) -> Figures:
    """D's update, real and fake apart; then G's on the same fakes through the new D.

    That is the PyTorch tutorial's order.
    """
    s = batch.state
    with batch.autocast():
        fake = s.generator(batch.z())
        # D sees fake.detach(): its loss must not move G.
        real_logits, fake_logits = batch.logits(batch.real, "d"), batch.logits(fake.detach(), "d")
        loss_d = batch.loss_d(real_logits, fake_logits)
    norm_d = batch.update_d(loss_d)
    figures = figures_d(loss_d, real_logits, fake_logits, norm_d)
    if batch.turn_g or batch.measure:
        with batch.buffers_restored(when=not batch.turn_g):
            with batch.autocast():
                # D runs on `fake` again, after its own update: G's loss is that of the new D.
                after = batch.logits(fake, "g")
                loss_g = batch.loss.generator(after)
            figures |= figures_g(loss_g, after, batch.update_g(loss_g))
    return figures


def concatenated(batch: Batch) -> Figures:
    """D's update on fake and real in one batch; then G's on fresh fakes (the Keras books).

    D's fakes come from G's running statistics.
    """
    s = batch.state
    with torch.no_grad(), evaluating(s.generator), batch.autocast():
        fake = s.generator(batch.z())
    with batch.autocast():
        fake_logits, real_logits = batch.logits(torch.cat([fake, batch.real]), "d").chunk(2)
        # One mean over 2B images, so half the sum of two means.
        loss_d = batch.loss_d(real_logits, fake_logits) / 2
    norm_d = batch.update_d(loss_d)
    figures = figures_d(loss_d, real_logits, fake_logits, norm_d)
    if batch.turn_g or batch.measure:
        with batch.buffers_restored(when=not batch.turn_g):
            with batch.autocast():
                after = batch.logits(s.generator(batch.z()), "g")
                loss_g = batch.loss.generator(after)
            figures |= figures_g(loss_g, after, batch.update_g(loss_g))
    return figures


def one_network(batch: Batch) -> Figures:
    """An update of G or of D on each batch, never of both; G comes first (the paper's own code)."""
    s = batch.state
    z_d, z_g = batch.z(), batch.z()  # both, so that measuring a phase changes no draw of the other
    figures: Figures = {}
    if batch.turn_d or batch.measure:
        with batch.buffers_restored(when=not batch.turn_d):
            with batch.autocast():
                fake = s.generator(z_d).detach()
                real_logits, fake_logits = batch.logits(batch.real, "d"), batch.logits(fake, "d")
                loss_d = batch.loss_d(real_logits, fake_logits)
            figures |= figures_d(loss_d, real_logits, fake_logits, batch.update_d(loss_d))
    if batch.turn_g or batch.measure:
        with batch.buffers_restored(when=not batch.turn_g):
            with batch.autocast():
                after = batch.logits(s.generator(z_g), "g")
                loss_g = batch.loss.generator(after)
            figures |= figures_g(loss_g, after, batch.update_g(loss_g))
    return figures


UPDATES = {
    "simultaneous": simultaneous,
    "alternating": alternating,
    "concatenated": concatenated,
    "one_network": one_network,
}


def figures_d(loss: Tensor, real_logits: Tensor, fake_logits: Tensor, norm: Tensor) -> Figures:
    """D's figures: loss, mean probabilities before its update, norm of its gradient."""
    return {
        "loss_d": loss,
        "d_real": real_logits.sigmoid().mean(),
        "d_fake_before": fake_logits.sigmoid().mean(),
        "grad_norm_d": norm,
    }


def figures_g(loss: Tensor, logits_after: Tensor, norm: Tensor) -> Figures:
    """G's figures: loss, mean probability of fakes after D's update, norm of its gradient."""
    return {
        "loss_g": loss,
        "d_fake_after": logits_after.sigmoid().mean(),
        "grad_norm_g": norm,
    }


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
    for average, current in zip(ema.buffers(), network.buffers(), strict=True):
        average.copy_(current)

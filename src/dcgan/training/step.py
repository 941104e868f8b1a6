"""One step: one batch, and an update of the discriminator, of the generator, or of both.

The order of the two updates, and which fakes each of them sees, is what sets the reference systems
apart: `UPDATES` has one function for each. They share a `Batch`.
"""

import contextlib
import math
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm, parametrize

from dcgan.config.sections import Training
from dcgan.errors import Diverged
from dcgan.networks.models import evaluating
from dcgan.training.augment import augment
from dcgan.training.losses import LOSSES
from dcgan.training.ranks import ALONE, Ranks
from dcgan.training.replay import Recordings
from dcgan.training.state import Row, Side, State, update_ema

Figures = dict[str, Tensor]  # scalars
FIGURES = (
    "loss_d", "loss_g",
    "d_real", "d_fake_before", "d_fake_after",  # mean D(x), D(G(z)) before and after D's update
    "grad_norm_d", "grad_norm_g",
)  # fmt: skip


def train_step(
    state: State,
    real: Tensor,  # float32 N x C x H x W in [-1, 1]; of several processes, the rows of this one
    *,
    seed: int,
    training: Training,
    precision: str,  # float32 or bfloat16
    measure: bool,  # whether figures are wanted
    ranks: Ranks = ALONE,
    recordings: Recordings | None = None,  # of steps on a GPU, to be replayed
) -> "Outcome":
    """Update D, G or both on one batch.

    Nothing here waits for a GPU: what the step found is in the outcome, for later.
    """
    batch = Batch(state, real, seed, training, precision, measure, ranks)
    found = batch.update() if recordings is None else recordings.update(batch)
    # Here and not with the gradients, whose graphs hold the statistics.
    ranks.average([*state.statistics, *found.checked.values(), *found.figures.values()])
    if batch.turn_g and training.ema_half_life:
        images = batch.batches_between * len(real) * ranks.count
        update_ema(state, training.ema_half_life / images)
    state.step += 1
    return Outcome(state.step, found.checked, found.figures)


class Found(NamedTuple):
    """What an update gives: scalars on the device, by name."""

    checked: Figures  # must be finite
    figures: Figures  # FIGURES, or none


class Outcome:
    """What a step found, on its way from the device."""

    def __init__(self, step: int, checked: Figures, figures: Figures) -> None:
        self.step, self.checked, self.figures = step, list(checked), list(figures)
        found = torch.stack([value.detach() for value in (checked | figures).values()])
        self._values = found.to("cpu", non_blocking=True)
        self._copied = None
        if found.device.type != "cpu":
            self._copied = torch.Event(found.device)
            self._copied.record()

    def read(self) -> Row | None:
        """FIGURES, where they were measured; waits for the device.

        Raises:
            Diverged: a loss, gradient, buffer or figure is not finite.
        """
        if self._copied is not None:
            self._copied.synchronize()
        values = self._values.tolist()
        found = dict(zip([*self.checked, *self.figures], values, strict=True))
        broken = [name for name in found if not math.isfinite(found[name])]
        if broken:
            said = ", ".join(f"{name} {found[name]:g}" for name in broken)
            raise Diverged(
                f"step {self.step}: the training is not finite any more ({said}):"
                " lower lr, or use precision: float32"
            )
        return {name: found[name] for name in FIGURES} if self.figures else None


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
        ranks: Ranks = ALONE,
    ) -> None:
        self.state, self.real, self.training = state, real, training
        self.precision, self.measure, self.ranks = precision, measure, ranks
        self.loss = LOSSES[training.loss]
        self.checked: Figures = {}  # what must be finite, by name
        n = training.discriminator_steps
        one_network = training.update == "one_network"
        self.batches_between = n + 1 if one_network else n  # from one update of G to the next
        self.turn_g = state.step % (n + 1) == 0 if one_network else (state.step + 1) % n == 0
        self.turn_d = not (one_network and self.turn_g)
        self.with_r1 = bool(training.r1_gamma) and state.step % training.r1_every == 0
        state.streams.begin(seed, state.step)

    def kind(self) -> Hashable:
        """What of this step its operations depend on; all else of it are values."""
        return self.turn_g, self.turn_d, self.with_r1, self.measure, self.real.shape

    def update(self) -> Found:
        """Update D, G or both."""
        figures = UPDATES[self.training.update](self)
        return Found(self.checked, figures)

    def dropout(self, phase: str) -> torch.Generator | None:
        """What D's dropout is drawn with, if it has any.

        Not `draws`: a mask needs a number for each value of a map, and torch's own generator makes
        these faster on the CPU (docs/performance.md).
        """
        if not self.state.discriminator.draws:
            return None
        # Each process has masks of its own, so here their number makes a difference.
        whose = f" {self.ranks.rank}" if self.ranks.rank else ""
        return self.state.streams.generator(f"dropout {phase}{whose}")

    def z(self) -> Tensor:
        """Fresh latent vectors, N x z_dim: this process's rows of those of all."""
        a, draws = self.state.generator.architecture, self.state.streams.draws("z")
        shape = len(self.real) * self.ranks.count, a.z_dim
        normal = a.z_distribution == "normal"
        drawn = draws.normal(*shape) if normal else draws.uniform(*shape, low=-1.0)
        return drawn[self.ranks.rows(len(drawn))]

    def logits(self, images: Tensor, phase: str) -> Tensor:
        """D's logits of images, in D's phase (`d`) or in G's (`g`).

        Each phase has its own draws: one that is run only for its figures must not change those of
        the other.
        """
        if self.training.diff_augment:
            draws = self.state.streams.draws(f"augment {phase}")
            part = self.ranks.part(len(images), len(self.real), images.device)
            images = augment(images, self.training.diff_augment, draws, part)
        return self.state.discriminator(images, self.dropout(phase))

    def logits_of_both(self, fake: Tensor) -> tuple[Tensor, Tensor]:
        """D's logits of the real images and of `fake`, in D's phase.

        In one pass, which is faster, unless D has batch norm: there real and fake images have
        statistics of their own, as in the tutorials.
        """
        if self.state.discriminator.architecture.norm == "batch":
            return self.logits(self.real, "d"), self.logits(fake, "d")
        real_logits, fake_logits = self.logits(torch.cat([self.real, fake]), "d").chunk(2)
        return real_logits, fake_logits

    @contextlib.contextmanager
    def phase(self) -> Iterator[None]:
        """The context of D's or G's part of the step.

        In it spectral norm is estimated once, at the first pass through D, and used for all of
        them. Miyato et al. 2018, algorithm 1, also make one estimate an update.
        """
        with parametrize.cached():
            yield

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
        if not self.with_r1:
            return 0.0
        real = self.real.detach().requires_grad_()
        # In float32: the square of a gradient in bfloat16 has two digits.
        (slope,) = torch.autograd.grad(self.logits(real, "d").sum(), real, create_graph=True)
        return gamma / 2 * every * slope.square().sum(dim=(1, 2, 3)).mean()

    def gradients(
        self, loss: Tensor, side: Side, *, retain_graph: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """Gradients of `loss` for the weights of one network alone, and their norm.

        `retain_graph` keeps what the forward pass has saved, for another loss that came through
        the same pass.

        They and the network's buffers are noted to be `checked`. Of several processes gradients
        and loss are means.
        """
        gradients = list(torch.autograd.grad(loss, side.parameters, retain_graph=retain_graph))
        loss = loss.detach().clone()
        self.ranks.average([*gradients, loss])
        norm = get_total_norm(gradients)
        checked = {"loss": loss, "gradient norm": norm}
        if side.float_buffers:
            checked["buffer norm"] = get_total_norm(side.float_buffers)
        self.checked |= {f"{name} of {side.name}": value for name, value in checked.items()}
        total = torch.stack(list(checked.values())).sum()
        torch.maximum(self.state.bad, (~total.isfinite()).to(total.dtype), out=self.state.bad)
        return gradients, norm

    def apply(self, side: Side, gradients: list[Tensor]) -> None:
        """Let the optimizer take its step."""
        for parameter, gradient in zip(side.parameters, gradients, strict=True):
            parameter.grad = gradient
        side.optimizer.step()

    def update_d(self, loss: Tensor) -> Tensor:
        """D's update, on its turn; returns the norm of its gradient."""
        gradients, norm = self.gradients(loss + self.r1(), self.state.d)
        if self.turn_d:
            self.apply(self.state.d, gradients)
        return norm

    def update_g(self, loss: Tensor) -> Tensor:
        """G's update, on its turn; returns the norm of its gradient."""
        gradients, norm = self.gradients(loss, self.state.g)
        if self.turn_g:
            self.apply(self.state.g, gradients)
        return norm

    def figures_d(
        self, loss: Tensor, real_logits: Tensor, fake_logits: Tensor, norm: Tensor
    ) -> Figures:
        """D's figures: loss, mean probabilities before its update, norm of its gradient."""
        if not self.measure:
            return {}
        return {
            "loss_d": loss,
            "d_real": real_logits.sigmoid().mean(),
            "d_fake_before": fake_logits.sigmoid().mean(),
            "grad_norm_d": norm,
        }

    def figures_g(self, loss: Tensor, logits_after: Tensor, norm: Tensor) -> Figures:
        """G's figures: loss, mean probability of fakes after D's update, norm of its gradient."""
        if not self.measure:
            return {}
        return {
            "loss_g": loss,
            "d_fake_after": logits_after.sigmoid().mean(),
            "grad_norm_g": norm,
        }

    @contextlib.contextmanager
    def buffers_restored(self, *, when: bool) -> Iterator[None]:
        """Restore both networks' buffers after the body, if `when` is set.

        For passes that are run only for their figures.
        """
        buffers = [*self.state.g.buffers, *self.state.d.buffers] if when else []
        copies = [buffer.clone() for buffer in buffers]
        yield
        for buffer, copy in zip(buffers, copies, strict=True):
            buffer.copy_(copy)


def simultaneous(batch: Batch) -> Figures:
    """Both gradients at the same parameters, then both updates (the TensorFlow tutorial)."""
    s = batch.state
    with batch.phase():
        with batch.autocast():
            fake = s.generator(batch.z())
            # Apart, because G's gradient goes through the pass of the fakes alone.
            real_logits, fake_logits = batch.logits(batch.real, "d"), batch.logits(fake, "d")
            loss_d = batch.loss_d(real_logits, fake_logits)
            loss_g = batch.loss.generator(fake_logits)
        # The graph is kept, because G's loss came through the same passes.
        gradients_d, norm_d = batch.gradients(loss_d + batch.r1(), s.d, retain_graph=True)
        gradients_g, norm_g = batch.gradients(loss_g, s.g)
        batch.apply(s.d, gradients_d)
        batch.apply(s.g, gradients_g)
    after = fake_logits
    if batch.measure:
        # Neither update needs the new D's logits; these are for the figures alone.
        with batch.buffers_restored(when=True), torch.no_grad(), batch.autocast():
            after = batch.logits(fake, "g")
    figures = batch.figures_d(loss_d, real_logits, fake_logits, norm_d)
    return figures | batch.figures_g(loss_g, after, norm_g)


def alternating(batch: Batch) -> Figures:
    """D's update, on real and fake; then G's on the same fakes through the new D.

    That is the PyTorch tutorial's order.
    """
    s = batch.state
    with batch.phase():
        with batch.autocast():
            fake = s.generator(batch.z())
            # D sees fake.detach(): its loss must not move G.
            real_logits, fake_logits = batch.logits_of_both(fake.detach())
            loss_d = batch.loss_d(real_logits, fake_logits)
        norm_d = batch.update_d(loss_d)
    figures = batch.figures_d(loss_d, real_logits, fake_logits, norm_d)
    if batch.turn_g or batch.measure:
        with batch.buffers_restored(when=not batch.turn_g), batch.phase():
            with batch.autocast():
                # D runs on `fake` again, after its own update: G's loss is that of the new D.
                after = batch.logits(fake, "g")
                loss_g = batch.loss.generator(after)
            figures |= batch.figures_g(loss_g, after, batch.update_g(loss_g))
    return figures


def concatenated(batch: Batch) -> Figures:
    """D's update on fake and real in one batch; then G's on fresh fakes (the Keras books).

    D's fakes come from G's running statistics.
    """
    s = batch.state
    with batch.phase():
        with torch.no_grad(), evaluating(s.generator), batch.autocast():
            fake = s.generator(batch.z())
        with batch.autocast():
            both = batch.logits(torch.cat([fake, batch.real]), "d")
            fake_logits, real_logits = both.chunk(2)
            # One mean over 2B images, so half the sum of two means.
            loss_d = batch.loss_d(real_logits, fake_logits) / 2
        norm_d = batch.update_d(loss_d)
    figures = batch.figures_d(loss_d, real_logits, fake_logits, norm_d)
    if batch.turn_g or batch.measure:
        with batch.buffers_restored(when=not batch.turn_g), batch.phase():
            with batch.autocast():
                after = batch.logits(s.generator(batch.z()), "g")
                loss_g = batch.loss.generator(after)
            figures |= batch.figures_g(loss_g, after, batch.update_g(loss_g))
    return figures


def one_network(batch: Batch) -> Figures:
    """An update of G or of D on each batch, never of both; G comes first (the paper's own code)."""
    s = batch.state
    z_d, z_g = batch.z(), batch.z()  # both, so that measuring a phase changes no draw of the other
    figures: Figures = {}
    if batch.turn_d or batch.measure:
        with batch.buffers_restored(when=not batch.turn_d), batch.phase():
            with batch.autocast():
                fake = s.generator(z_d).detach()
                real_logits, fake_logits = batch.logits_of_both(fake)
                loss_d = batch.loss_d(real_logits, fake_logits)
            figures |= batch.figures_d(loss_d, real_logits, fake_logits, batch.update_d(loss_d))
    if batch.turn_g or batch.measure:
        with batch.buffers_restored(when=not batch.turn_g), batch.phase():
            with batch.autocast():
                after = batch.logits(s.generator(z_g), "g")
                loss_g = batch.loss.generator(after)
            figures |= batch.figures_g(loss_g, after, batch.update_g(loss_g))
    return figures


UPDATES = {
    "simultaneous": simultaneous,
    "alternating": alternating,
    "concatenated": concatenated,
    "one_network": one_network,
}

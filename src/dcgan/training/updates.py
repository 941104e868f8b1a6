"""One step: the ways to update the discriminator and the generator.

The order of the two updates, and which fakes each of them sees, is what sets the reference systems
apart.
"""

import math

import torch
from torch import Tensor

from dcgan.config.sections import AllParams
from dcgan.errors import Diverged
from dcgan.training.step import Row, State, Step, update_ema

Figures = dict[str, Tensor]
COLUMNS = (
    "epoch",
    "step",
    "loss_d",
    "loss_g",
    "d_real",
    "d_fake_before",
    "d_fake_after",
    "grad_norm_d",
    "grad_norm_g",
)


def train_step(
    state: State, params: AllParams, real: Tensor, precision: str, *, measure: bool
) -> Row | None:
    """One batch: an update of D, one of G, or both. Returns losses, probabilities and gradient norms when `measure` is set."""
    step = Step(state, params, real, precision, measure)
    row = UPDATES[params.training.update](step)
    if step.turn_g:
        update_ema(
            state.ema,
            state.generator,
            params.training.ema_half_life / (step.batches * len(real)),
            state.step,
        )
    state.step += 1
    if not measure:
        return None  # note: every float() below waits for the GPU
    figures = {name: float(value.detach()) for name, value in row.items()}
    for name, value in figures.items():
        if not math.isfinite(value):
            raise Diverged(
                f"step {state.step}: {name} is not finite ({value}): lower lr, or use precision: float32"
            )
    return figures


def simultaneous(step: Step) -> Figures:
    """Both gradients at the same parameters, then both updates (the TensorFlow tutorial)."""
    s = step.state
    with step.autocast():
        fake = s.generator(step.z())
        real_logits, fake_logits = step.logits(step.real, "d"), step.logits(fake, "d")
        loss_d, loss_g = step.loss_d(real_logits, fake_logits), step.loss.generator(fake_logits)
    gradients_d, norm_d = step.gradients(loss_d + step.r1(), s.discriminator, "D")
    gradients_g, norm_g = step.gradients(loss_g, s.generator, "G")
    step.apply(s.opt_d, s.discriminator, gradients_d)
    step.apply(s.opt_g, s.generator, gradients_g)
    after = fake_logits
    if step.measure:
        # Nothing here needs D after its update, so it is asked once more.
        with step.looking(unless=False), torch.no_grad(), step.autocast():
            after = step.logits(fake, "g")
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


def alternating(step: Step) -> Figures:
    """D's update, real and fake apart; then G's on the same fakes through the new D (the PyTorch tutorial)."""
    s = step.state
    with step.autocast():
        fake = s.generator(step.z())
        # D sees fake.detach(): its loss must not move G.
        real_logits, fake_logits = step.logits(step.real, "d"), step.logits(fake.detach(), "d")
        loss_d = step.loss_d(real_logits, fake_logits)
    norm_d = step.update_d(loss_d)
    if not (step.turn_g or step.measure):
        return {}
    with step.looking(unless=step.turn_g):
        with step.autocast():
            # D runs on `fake` again, after its own update: G answers the D of now.
            after = step.logits(fake, "g")
            loss_g = step.loss.generator(after)
        norm_g = step.update_g(loss_g)
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


def concatenated(step: Step) -> Figures:
    """D's update on fake and real in one batch, fakes from G's running statistics; then G's on fresh fakes (the Keras books)."""
    s = step.state
    with torch.no_grad(), step.autocast():
        fake = s.generator.eval()(step.z())
        s.generator.train()
    with step.autocast():
        fake_logits, real_logits = step.logits(torch.cat([fake, step.real]), "d").chunk(2)
        # One mean over 2B images, so half the sum of two means.
        loss_d = step.loss_d(real_logits, fake_logits) / 2
    norm_d = step.update_d(loss_d)
    if not (step.turn_g or step.measure):
        return {}
    with step.looking(unless=step.turn_g):
        with step.autocast():
            after = step.logits(s.generator(step.z()), "g")
            loss_g = step.loss.generator(after)
        norm_g = step.update_g(loss_g)
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


def one_network(step: Step) -> Figures:
    """An update of G or of D, never of both, on each batch; G comes first (the paper's own code)."""
    s = step.state
    z_d, z_g = step.z(), step.z()  # both drawn, so that looking at a phase changes no draw
    real_logits = fake_logits = loss_d = norm_d = after = loss_g = norm_g = step.real.new_zeros(())
    if step.turn_d or step.measure:
        with step.looking(unless=step.turn_d):
            with step.autocast():
                fake = s.generator(z_d).detach()
                real_logits, fake_logits = step.logits(step.real, "d"), step.logits(fake, "d")
                loss_d = step.loss_d(real_logits, fake_logits)
            norm_d = step.update_d(loss_d)
    if step.turn_g or step.measure:
        with step.looking(unless=step.turn_g):
            with step.autocast():
                after = step.logits(s.generator(z_g), "g")
                loss_g = step.loss.generator(after)
            norm_g = step.update_g(loss_g)
    return report(loss_d, loss_g, real_logits, fake_logits, after, norm_d, norm_g)


UPDATES = {
    "simultaneous": simultaneous,
    "alternating": alternating,
    "concatenated": concatenated,
    "one_network": one_network,
}


def report(
    loss_d: Tensor,
    loss_g: Tensor,
    real: Tensor,
    fake: Tensor,
    fake_after: Tensor,
    norm_d: Tensor,
    norm_g: Tensor,
) -> Figures:
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

"""One step of every update: what it changes, and that it is the textbook's."""

import copy
import math

import pytest
import torch
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from dcgan import data, rng
from dcgan.errors import Diverged
from dcgan.training import loop, step
from tests.support.small_training import small
from tests.support.steps import UPDATES, build, fingerprint, same, train_step


@pytest.mark.holds("R-41")
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("measure", [True, False])
@pytest.mark.parametrize("what", ["loss", "gradient", "buffer"])
def test_nothing_that_is_not_finite_passes_into_an_update(what, measure, update, images):
    params = small(training__update=update)
    state = build(params)
    state.step = int(update == "one_network" and what != "buffer")  # D's turn comes second
    real = data.to_float(images[:8])
    if what == "loss":
        real[0] = math.nan
    elif what == "gradient":
        next(state.discriminator.parameters()).register_hook(lambda gradient: gradient * math.nan)
    else:
        next(buffer for buffer in state.generator.buffers() if buffer.dim()).fill_(math.inf)
    before = [p.clone() for p in state.generator.parameters()]
    with pytest.raises(Diverged, match=r"step [12]: .* not finite any more \(.* of [DG] (nan|inf)"):
        train_step(state, params, real, measure=measure)
    assert all(torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))


@pytest.mark.parametrize("update", UPDATES)
def test_measuring_changes_nothing(update, images):
    states = []
    for measure in (True, False):
        params = small(training__update=update, discriminator__spectral_norm=True)
        state = build(params)
        for _ in range(3):
            train_step(state, params, data.to_float(images[:8]), measure=measure)
        states.append(fingerprint(state))
    assert same(*states)


def plain_step(params, images, kind):
    """The update as a textbook writes it, with zero_grad, backward and step, dropout off."""
    state = build(params)
    g, d = state.generator, state.discriminator
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    latent = rng.Draws(params.seed, "z", 0)
    real = data.to_float(images[:8])

    def z():
        return latent.normal(8, 4)

    if kind == "simultaneous":
        fake = g(z())
        loss_d = cross_entropy(d(real), torch.ones(8)) + cross_entropy(d(fake), torch.zeros(8))
        loss_g = cross_entropy(d(fake), torch.ones(8))
        gradients_d = torch.autograd.grad(loss_d, list(d.parameters()), retain_graph=True)
        loss_g.backward()
        for parameter, gradient in zip(d.parameters(), gradients_d, strict=True):
            parameter.grad = gradient
        state.opt_d.step()
        state.opt_g.step()
        return state
    if kind == "alternating":
        fake = g(z())
        fake_d, fake_g, scale = fake.detach(), lambda: fake, 1
    elif kind == "concatenated":
        fake_d = g.eval()(z()).detach()
        g.train()
        fake_g, scale = lambda: g(z()), 0.5
    else:  # one_network, whose first batch is G's
        z()
        cross_entropy(d(g(z())), torch.ones(8)).backward()
        state.opt_g.step()
        return state
    (
        scale * (cross_entropy(d(real), torch.ones(8)) + cross_entropy(d(fake_d), torch.zeros(8)))
    ).backward()
    state.opt_d.step()
    cross_entropy(d(fake_g()), torch.ones(8)).backward()
    state.opt_g.step()
    return state


@pytest.mark.parametrize("update", UPDATES)
def test_an_update_is_the_textbooks(update, images):
    params = small(training__update=update, discriminator__dropout=[0.0, 0.0])
    state = build(params)
    train_step(state, params, data.to_float(images[:8]))
    expected = plain_step(params, images, update)
    for mine, theirs in (
        (state.generator, expected.generator),
        (state.discriminator, expected.discriminator),
    ):
        for (name, one), two in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7, msg=name)


def changed(network, before) -> bool:
    return any(
        not torch.equal(one, two) for one, two in zip(network.parameters(), before, strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "turns"),
    [
        (
            {"training__update": "alternating", "training__discriminator_steps": 3},
            ["d", "d", "dg", "d", "d", "dg"],
        ),
        (
            {"training__update": "concatenated", "training__discriminator_steps": 2},
            ["d", "dg", "d", "dg"],
        ),
        ({"training__update": "one_network"}, ["g", "d", "g", "d"]),
        (
            {"training__update": "one_network", "training__discriminator_steps": 2},
            ["g", "d", "d", "g"],
        ),
        ({"training__update": "simultaneous"}, ["dg", "dg"]),
    ],
)
def test_each_network_is_updated_on_its_turn_alone_and_every_row_is_full(changes, turns, images):
    params = small(**changes)
    state = build(params)
    for turn in turns:
        before = {
            "d": [p.clone() for p in state.discriminator.parameters()],
            "g": [p.clone() for p in state.generator.parameters()],
        }
        row = train_step(state, params, data.to_float(images[:8]), measure=True)
        updated = {
            name
            for name, network in (("d", state.discriminator), ("g", state.generator))
            if changed(network, before[name])
        }
        assert updated == set(turn)
        assert min(row["grad_norm_d"], row["grad_norm_g"]) > 0


def test_r1_is_half_gamma_times_the_mean_squared_slope_and_counts_for_the_steps_between(images):
    params = small(training__r1_gamma=2.0, training__r1_every=4, discriminator__dropout=[0.0, 0.0])
    state = build(params)
    real = data.to_float(images[:8])
    batch = step.Batch(state, real, params.seed, params.training, "float32", False)
    epsilon, slopes = 1e-2, []
    d = copy.deepcopy(state.discriminator).double().eval()
    for image in real.double():
        # Finite differences of D, a pixel at a time.
        moves = epsilon * torch.eye(256, dtype=torch.float64).view(256, 1, 16, 16)
        with torch.no_grad():
            slope = (logits(d, image + moves) - logits(d, image - moves)) / (2 * epsilon)
        slopes.append(slope.square().sum())
    assert float(batch.r1().detach()) == pytest.approx(
        2.0 / 2 * 4 * float(torch.stack(slopes).mean()), rel=0.05
    )
    state.step = 1
    assert step.Batch(state, real, params.seed, params.training, "float32", False).r1() == 0.0


def logits(d, images):
    """D without its cast to float32."""
    for block in d.blocks:
        images = block(images)
    return d.head(images).squeeze(1)


@pytest.mark.holds("R-41")
def test_no_weight_moves_after_a_step_that_was_not_finite(images):
    """A GPU may be a step ahead when the first one is looked at."""
    params = small(training__ema_half_life=8)
    state = build(params)
    broken = data.to_float(images[:8]) * math.nan
    options = {"seed": 1, "training": params.training, "precision": "float32", "measure": False}
    first = step.train_step(state, broken, **options)
    before = [p.clone() for p in [*state.g.parameters, *state.d.parameters, *state.ema_parameters]]
    step.train_step(state, data.to_float(images[:8]), **options)
    after = [*state.g.parameters, *state.d.parameters, *state.ema_parameters]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    with pytest.raises(Diverged, match="step 1: the training is not finite any more"):
        first.read()


@pytest.mark.parametrize("update", ["alternating", "concatenated", "one_network"])
def test_spectral_norm_is_estimated_once_a_phase(update, images, monkeypatch):
    params = small(training__update=update, discriminator__spectral_norm=True)
    state = build(params)
    counts = []
    for module in state.discriminator.modules():
        if isinstance(module, parametrizations._SpectralNorm):
            module.register_forward_hook(lambda *_: counts.append(1))
    train_step(state, params, data.to_float(images[:8]), measure=True)
    phases = 2  # with measure both are run, on whatever turn
    assert len(counts) == phases * 3  # two convolutions and the head


class NothingWaits(TorchDispatchMode):
    """Refuses every operation that brings a value to the host, where a GPU would be waited for."""

    WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select")

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        assert operation.overloadpacket.__name__ not in self.WAITING, operation
        return operation(*arguments, **(options or {}))


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", ["adam", "adam_keras", "rmsprop_keras"])
def test_a_step_brings_no_value_to_the_host_until_its_outcome_is_read(update, optimizer, images):
    params = small(
        training__update=update,
        training__optimizer=optimizer,
        training__r1_gamma=1.0,
        training__r1_every=1,
        training__diff_augment=["color", "translation", "cutout"],
        training__ema_half_life=8,
        discriminator__spectral_norm=True,
    )
    state, real = build(params), data.to_float(images[:8])
    options = {"seed": 1, "training": params.training, "precision": "float32", "measure": True}
    with NothingWaits():
        loop.set_learning_rates(state, 10, lr=params.lr, training=params.training)
        outcome = step.train_step(state, real, **options)
    assert outcome.read()
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NothingWaits():
        state.bad.item()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_real_and_fake_go_through_d_together_unless_it_has_batch_norm(norm, images):
    params = small(discriminator__norm=norm, discriminator__dropout=[0.0, 0.0])
    state = build(params)
    real, fake = data.to_float(images[:8]), data.to_float(images[8:16])
    batch = step.Batch(state, real, 1, params.training, "float32", False)
    passes = []
    state.discriminator.register_forward_hook(lambda *_: passes.append(1))
    together = batch.logits_of_both(fake)
    assert len(passes) == (2 if norm == "batch" else 1)
    for one, images_alone in zip(together, (real, fake), strict=True):
        torch.testing.assert_close(one, state.discriminator(images_alone))


def test_bfloat16_trains_with_weights_kept_in_float32(images):
    params = small()
    state = build(params)
    row = train_step(state, params, data.to_float(images[:8]), precision="bfloat16", measure=True)
    assert all(math.isfinite(value) for value in row.values())
    assert all(p.dtype == torch.float32 for p in state.generator.parameters())

"""What a step changes: the average, and the lists that a step needs."""

import torch

from dcgan import data
from dcgan.training import state as states
from tests.support.small_training import small
from tests.support.steps import build, train_step


def test_the_lists_are_the_networks_own_tensors():
    state = build(small(discriminator__spectral_norm=True))
    for side, network in ((state.g, state.generator), (state.d, state.discriminator)):
        assert [id(p) for p in side.parameters] == [id(p) for p in network.parameters()]
        assert [id(b) for b in side.buffers] == [id(b) for b in network.buffers()]
        assert side.float_buffers and all(b.is_floating_point() for b in side.float_buffers)
        assert side.optimizer.found_inf is state.bad


def test_the_average_follows_the_weights(images):
    params = small(training__ema_half_life=8)
    state = build(params)
    old = [p.clone() for p in state.ema.parameters()]
    train_step(state, params, data.to_float(images[:8]))
    states.finish_ema(state, params.training)
    for before, now, weight in zip(
        old, state.ema.parameters(), state.generator.parameters(), strict=True
    ):
        torch.testing.assert_close(
            now, before + (1 - 0.1) * (weight - before)
        )  # warm-up: 1 / 10 at step 0
    for mine, theirs in zip(state.ema.buffers(), state.generator.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_without_an_average_it_is_the_network(images):
    params = small(training__ema_half_life=0.0)
    state = build(params)
    train_step(state, params, data.to_float(images[:8]))
    states.finish_ema(state, params.training)
    weights = state.generator.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in state.ema.state_dict().items())

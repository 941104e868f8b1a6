"""Steps computed by hand, in the forms of the Keras documentation."""

import copy
import math

import pytest
import torch

from dcgan.training import optimizers
from tests.support.small_training import small


def weights(values) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values))


RATE = torch.tensor(1e-3)
GRADIENTS = [[0.5, -1e-3, 1e-7], [0.1, 2e-3, -1e-6], [-0.2, 1e-4, 1e-7]]


def steps(optimizer, weight, gradients=GRADIENTS):
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    return weight.detach().tolist()


def test_adam_adds_eps_before_the_bias_correction_as_keras():
    weight = weights([1.0, 2.0, 0.0])
    moved = steps(optimizers.KerasAdam([weight], lr=RATE, betas=(0.9, 0.999), eps=1e-7), weight)
    for i, start in enumerate([1.0, 2.0, 0.0]):
        m = v = 0.0
        for t, gradient in enumerate(GRADIENTS, 1):
            m, v = 0.9 * m + 0.1 * gradient[i], 0.999 * v + 0.001 * gradient[i] ** 2
            start -= 1e-3 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (math.sqrt(v) + 1e-7)
        assert moved[i] == pytest.approx(start, rel=1e-6, abs=1e-9)


def test_torchs_adam_moves_further_where_gradients_are_small():
    weight, theirs = weights([0.0]), weights([0.0])
    options = {"lr": RATE, "betas": (0.9, 0.999), "eps": 1e-7}
    (keras,) = steps(optimizers.KerasAdam([weight], **options), weight, [[1e-7]])
    (torchs,) = steps(torch.optim.Adam([theirs], **options, fused=True), theirs, [[1e-7]])
    assert keras == pytest.approx(-1e-3 * 1 / (1 + 1 / math.sqrt(0.001)), rel=1e-4)
    assert torchs == pytest.approx(-5e-4, rel=1e-4)


def test_rmsprop_adds_eps_inside_the_root_as_keras():
    weight = weights([1.0, 2.0, 0.0])
    moved = steps(optimizers.KerasRMSprop([weight], lr=RATE, rho=0.9, eps=1e-7), weight)
    for i, start in enumerate([1.0, 2.0, 0.0]):
        v = 0.0
        for gradient in GRADIENTS:
            v = 0.9 * v + 0.1 * gradient[i] ** 2
            start -= 1e-3 * gradient[i] / math.sqrt(v + 1e-7)
        assert moved[i] == pytest.approx(start, rel=1e-6, abs=1e-9)


def test_keras_adam_goes_on_where_its_saved_state_ended():
    def made(weight):
        return optimizers.KerasAdam([weight], lr=RATE, betas=(0.9, 0.999), eps=1e-7)

    whole = weights([1.0, 2.0, 0.0])
    steps(made(whole), whole)
    first = weights([1.0, 2.0, 0.0])
    optimizer = made(first)
    steps(optimizer, first, GRADIENTS[:2])
    second = torch.nn.Parameter(first.detach().clone())
    resumed = made(second)
    resumed.state[second] = copy.deepcopy(optimizer.state[first])
    steps(resumed, second, GRADIENTS[2:])
    assert torch.equal(whole, second)


@pytest.mark.parametrize("name", ["adam", "adam_keras", "rmsprop_keras"])
def test_no_weight_moves_while_something_is_not_finite(name):
    network = torch.nn.Linear(3, 1)
    params = small(training__optimizer=name)
    optimizer = optimizers.build(network, params.training, lr=1e-3, beta1=0.5)
    optimizer.found_inf = torch.ones(())
    before = network.weight.detach().clone()
    network.weight.grad = torch.full_like(before, math.nan)
    network.bias.grad = torch.ones_like(network.bias)
    optimizer.step()
    assert torch.equal(network.weight, before)
    optimizer.found_inf.zero_()
    network.weight.grad.fill_(1.0)
    optimizer.step()
    assert (network.weight < before).all()

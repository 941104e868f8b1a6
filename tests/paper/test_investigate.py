import numpy as np
import pytest
import torch

from dcgan.networks import sampling
from dcgan.paper import investigate
from tests.support.by_hand import discriminator, generator, normal, planted, same, state


def test_guided_gradients_are_those_computed_by_hand():
    """One pixel of value 1 through kernels of one pixel.

    Forwards 1 becomes (2, 3, -1, -1), then 2 * 2 - 3 + 2 * 0.3 - 0.3 = 1.3. Backwards the gradients
    are (2, -1, -2, 1): the second and third are negative, the fourth meets a negative input;
    2 * 2 = 4 is left.
    """
    net = discriminator()
    with torch.no_grad():
        net.blocks[0].conv.weight.copy_(torch.tensor([2.0, 3.0, -1.0, -1.0]).view(4, 1, 1, 1))
        net.blocks[1].conv.weight.copy_(torch.tensor([2.0, -1.0, -2.0, 1.0]).view(1, 4, 1, 1))
    images = np.full((3, 1, 4, 4), 128, np.uint8)
    images[1, 0, 2, 3] = 255
    images[2, 0, 1, 0] = 220
    net.train()
    before = state(net)
    (response,) = investigate.guided(net, images, maps=6, top=2)
    assert same(before, state(net))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert response.images.tolist() == [1, 2]
    np.testing.assert_allclose(response.responses, [1.3, 1.3 * (220 / 127.5 - 1)], rtol=1e-5)
    expected = np.zeros((2, 1, 4, 4))
    expected[0, 0, 2, 3] = expected[1, 0, 1, 0] = 4
    np.testing.assert_allclose(response.gradients, expected, rtol=1e-6)
    assert response.regions == [(3, 2, 3, 2), (0, 1, 0, 1)]


@pytest.mark.parametrize(("size", "kernel", "padding", "strides"), [
    (28, 4, "same", [2, 2, 2]), (28, 5, "same", [2, 2]),
    (32, 4, "symmetric", [2, 2, 2]), (24, 3, "symmetric", [1, 2, 2]),
])  # fmt: skip
def test_the_region_of_a_unit_is_where_its_gradient_is(size, kernel, padding, strides):
    net = discriminator(
        size,
        channels=[2] * len(strides),
        strides=strides,
        dropout=[0.0] * len(strides),
        kernel=kernel,
        padding=padding,
    )
    with torch.no_grad():
        for block in net.blocks:
            block.conv.weight.fill_(0.1)
    side = net.features(torch.zeros(1, 1, size, size))[-1].shape[-1]
    for row, column in ((0, 0), (side - 1, side // 2), (side // 2, side - 1)):
        pixels = torch.zeros(1, 1, size, size, requires_grad=True)
        (gradient,) = torch.autograd.grad(net.features(pixels)[-1][0, 0, row, column], pixels)
        rows, columns = np.nonzero(gradient[0, 0].numpy())
        expected = (columns.min(), rows.min(), columns.max(), rows.max())
        assert investigate.seen_by(net.architecture, row, column) == expected


def test_the_hidden_maps_are_those_before_the_last_but_one_layer():
    one, two, three = (
        generator(channels=[4] * n, strides=[2] * n, start_size=32 >> n) for n in (1, 2, 3)
    )
    assert investigate.hidden_layer(one) is one.layers[0]
    assert investigate.hidden_layer(two) is two.layers[0]
    assert investigate.hidden_layer(three) is three.layers[2]


def test_forgetting_finds_the_planted_unit_and_takes_the_class_away():
    net, z = planted(), normal(150, 4)
    before = state(net)
    activations = investigate.unit_means(net, z)
    np.testing.assert_allclose(activations, z.clamp(min=0).numpy(), atol=1e-6)
    drawn = (sampling.generate(net, z) > 128).any(axis=(1, 2, 3))
    assert (drawn == (z[:, 1] > 0.01).numpy()).mean() > 0.97
    fitted = investigate.class_units(activations, drawn, seed=3)
    count = min(drawn.sum(), (~drawn).sum())
    assert (fitted.num_train + fitted.num_held_out, fitted.num_held_out) == (
        2 * count,
        2 * round(0.25 * count),
    )
    assert fitted.weights.argmax() == 1 and 1 in fitted.units
    assert (fitted.units == np.flatnonzero(fitted.weights > 0)).all()
    assert fitted.accuracy > 0.9
    with investigate.without_units(net, fitted.units):
        assert (sampling.generate(net, z) == 128).all()
    with investigate.without_units(net, np.array([0, 2, 3])):
        assert (sampling.generate(net, z) == (images := sampling.generate(net, z))).all()
    assert (sampling.generate(net, z) == images).all()
    assert same(before, state(net))


def test_held_out_accuracy_is_chance_for_labels_that_say_nothing():
    activations = normal(
        600, 150
    ).numpy()  # enough units to learn the 300 training samples by heart
    fitted = investigate.class_units(activations, np.arange(600) % 3 == 0, seed=1)
    assert (fitted.num_train, fitted.num_held_out) == (300, 100)
    assert 0.3 < fitted.accuracy < 0.7


def test_a_unit_that_never_changes_has_no_weight_and_too_few_samples_give_nothing():
    activations = normal(100, 3).numpy()
    activations[:, 2] = 5
    is_class = activations[:, 0] > 0
    fitted = investigate.class_units(activations, is_class, seed=1)
    assert 2 not in fitted.units and 0 in fitted.units
    assert np.isfinite(fitted.weights).all()
    assert investigate.class_units(activations, np.arange(100) < 19, seed=1) is None
    assert investigate.class_units(activations, np.arange(100) >= 19, seed=1) is None


def test_hooks_go_when_something_fails_inside():
    net = planted()
    with pytest.raises(KeyError), investigate.without_units(net, np.array([1])):
        raise KeyError
    assert state(net)[2] == 0

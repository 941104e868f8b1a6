"""Parameters and layers of a network as a table."""

import pytest

from dcgan.networks.summary import count_parameters, layers
from tests.support.networks import (
    CELEBA64,
    CELEBA64_D,
    FASHION_ADAM,
    MNIST_TF,
    MNIST_TF_D,
    discriminator,
    generator,
)


@pytest.mark.parametrize(
    ("network", "trainable", "running"),
    [
        (generator(MNIST_TF), 2_305_472, 25_472),
        (generator(FASHION_ADAM), 840_321, 384),
        (generator({**FASHION_ADAM, "z_dim": 32}), 413_825, 384),
        (generator(CELEBA64, 3), 3_576_704, 2 * (512 + 256 + 128 + 64)),
        (discriminator(MNIST_TF_D), 212_865, 0),
        (discriminator(CELEBA64_D, 3, 64), 2_765_568, 2 * (128 + 256 + 512)),
    ],
    ids=["mnist-tf", "fashion-adam", "fashion-rmsprop", "celeba64", "mnist-tf D", "celeba64 D"],
)
def test_parameters_are_counted_to_the_last_digit(network, trainable, running):
    assert count_parameters(network) == (trainable, running)


@pytest.mark.parametrize(
    ("network", "first", "last"),
    [
        (generator(MNIST_TF), ("Linear", "12544", 1_254_400), ("Tanh", "1 x 28 x 28", 0)),
        (discriminator(MNIST_TF_D), ("Conv", "64 x 14 x 14", 1664), ("Logit", "1", 6273)),
    ],
    ids=["generator", "discriminator"],
)
def test_the_table_has_every_layer_in_order_and_leaves_the_network_in_its_mode(
    network, first, last
):
    network.train()
    rows = layers(network)
    assert network.training
    assert (rows[0], rows[-1]) == (first, last)
    assert sum(count for _, _, count in rows) == count_parameters(network)[0]
    assert layers(network.eval()) == rows and not network.training

"""Parameters and layers of a network as a table."""

import pytest

from dcgan.networks.summary import count_parameters
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

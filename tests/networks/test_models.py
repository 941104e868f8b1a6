import math

import pytest
import torch

from dcgan.networks.layers import activation
from dcgan.networks.weights import plain_weights
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
    ("values", "channels", "size"), [(MNIST_TF, 1, 28), (FASHION_ADAM, 1, 28), (CELEBA64, 3, 64)]
)
def test_images_have_the_promised_shape_and_range(values, channels, size):
    images = generator(values, channels)(torch.randn(4, 100))
    assert images.shape == (4, channels, size, size)
    assert images.abs().max() <= 1


def test_logits_are_one_an_image_and_features_one_map_a_convolution():
    network = discriminator(MNIST_TF_D).eval()
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3,)
    assert [tuple(maps.shape) for maps in network.features(torch.zeros(3, 1, 28, 28))] == [
        (3, 64, 14, 14),
        (3, 128, 7, 7),
    ]


def test_batch_norm_and_leaky_relu_have_keras_settings():
    norm = generator(MNIST_TF).start[1]
    assert (norm.momentum, norm.eps) == (0.01, 1e-3)
    assert activation("leaky_relu", 0.3)(torch.tensor(-1.0)).item() == pytest.approx(-0.3)


def test_glorot_and_normal_initialisation_have_the_right_spread_and_no_bias():
    glorot, normal = (
        generator({**FASHION_ADAM, "init": "glorot"}),
        generator({**FASHION_ADAM, "init": "normal"}),
    )
    linear = glorot.start[0]
    limit = math.sqrt(6 / (100 + 6272))
    assert linear.weight.abs().max() <= limit
    assert linear.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert normal.start[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not linear.bias.any()
    norm = normal.layers[2]
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.02)
    assert 0 < norm.weight.std().item() < 0.05


def test_normalisation_goes_before_or_after_the_activation():
    assert [type(layer).__name__ for layer in generator(FASHION_ADAM).layers][:3] == [
        "ConvTranspose",
        "SELU",
        "BatchNorm2d",
    ]
    assert [type(layer).__name__ for layer in generator(MNIST_TF).layers][:3] == [
        "ConvTranspose",
        "BatchNorm2d",
        "LeakyReLU",
    ]


def test_the_first_convolution_of_d_has_no_batch_norm():
    blocks = discriminator(CELEBA64_D, 3, 64).blocks
    assert [type(block.norm).__name__ for block in blocks] == ["Identity", *["BatchNorm2d"] * 3]


@torch.no_grad()
def test_exported_spectral_norm_gives_the_same_logits_and_a_largest_singular_value_of_one():
    network = discriminator({**MNIST_TF_D, "spectral_norm": True, "dropout": [0.0, 0.0]})
    images = torch.randn(2, 1, 28, 28)
    for _ in range(100):
        network(images)  # each pass sharpens the estimate of the singular value
    network.eval()
    plain = discriminator({**MNIST_TF_D, "dropout": [0.0, 0.0]}).eval()
    plain.load_state_dict(plain_weights(network))
    torch.testing.assert_close(plain(images), network(images))
    assert torch.linalg.matrix_norm(plain.head[0].weight, 2).item() == pytest.approx(1, abs=1e-3)

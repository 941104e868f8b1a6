import math

import numpy as np
import pytest
import torch

from dcgan.config import reading, sections
from dcgan.networks.models import (
    Conv,
    ConvTranspose,
    Dropout,
    activation,
    count_parameters,
    plain_weights,
)
from dcgan.training import fresh

PARAMS = reading.load(sections.AllParams)
MNIST_TF = {
    "channels": [256, 128, 64], "strides": [1, 2, 2], "kernel": 5, "padding": "same",
    "start": "projection", "start_size": 7, "start_norm": "flat", "start_activation": True,
    "norm": "batch", "norm_order": "before", "activation": "leaky_relu", "slope": 0.3,
    "bias": False, "z_dim": 100, "init": "glorot", "norm_momentum": 0.01, "norm_eps": 1e-3,
}  # fmt: skip
FASHION_ADAM = {
    **MNIST_TF, "channels": [128, 64], "strides": [2, 2], "start_norm": "map",
    "start_activation": False, "norm_order": "after", "activation": "selu", "bias": True,
}  # fmt: skip
CELEBA64 = {
    **MNIST_TF, "channels": [512, 256, 128, 64], "strides": [2, 2, 2, 2], "kernel": 4,
    "padding": "symmetric", "start": "transposed_conv", "start_size": 4, "start_norm": "map",
    "activation": "relu",
}  # fmt: skip
MNIST_TF_D = {
    "channels": [64, 128], "strides": [2, 2], "kernel": 5, "padding": "same", "norm": "none",
    "dropout": [0.3, 0.3], "slope": 0.3, "bias": True, "head": "linear", "spectral_norm": False,
    "init": "glorot",
}  # fmt: skip
CELEBA64_D = {
    **MNIST_TF_D, "channels": [64, 128, 256, 512], "strides": [2] * 4, "kernel": 4,
    "padding": "symmetric", "norm": "batch", "dropout": [0.0] * 4, "bias": False, "head": "conv",
}  # fmt: skip


def generator(values, image_channels=1):
    return fresh.generator(PARAMS.generator.model_copy(update=values), image_channels)


def discriminator(values, image_channels=1, image_size=28):
    return fresh.discriminator(
        PARAMS.discriminator.model_copy(update=values), image_channels, image_size
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


def ones(layer):
    torch.nn.init.ones_(layer.weight)
    return layer


@torch.no_grad()
def test_same_convolution_pads_one_before_and_two_after_as_keras():
    layer = ones(Conv(1, 1, kernel=5, stride=2, padding="same", bias=False))
    image = torch.zeros(1, 1, 4, 4)
    image[..., 0, 0] = 1
    # With one pixel of padding before, windows start at -1 and 1: the first holds pixel 0, the
    # second does not.
    assert layer(image).flatten().tolist() == [1, 0, 0, 0]
    image = torch.zeros(1, 1, 4, 4)
    image[..., 3, 3] = 1
    assert layer(image).flatten().tolist() == [1, 1, 1, 1]  # windows -1..3 and 1..5


@torch.no_grad()
@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (4, 2), (3, 2), (3, 1)])
def test_same_transposed_convolution_crops_the_full_one_as_keras(kernel, stride):
    layer = ConvTranspose(1, 1, kernel=kernel, stride=stride, padding="same", bias=False)
    image = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    full = np.zeros((2 * stride + kernel, 2 * stride + kernel))
    weight = layer.weight[0, 0].numpy()
    for row in range(3):
        for column in range(3):
            top, left = row * stride, column * stride
            full[top : top + kernel, left : left + kernel] += (
                float(image[0, 0, row, column]) * weight
            )
    before = (kernel - stride) // 2
    expected = full[before : before + 3 * stride, before : before + 3 * stride]
    np.testing.assert_allclose(layer(image)[0, 0].numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_torchs_own_padding_is_one_pixel_off():
    image = torch.zeros(1, 1, 3, 3)
    image[..., 1, 1] = 1
    same = ones(ConvTranspose(1, 1, kernel=5, stride=2, padding="same", bias=False))(image)
    symmetric = ones(ConvTranspose(1, 1, kernel=5, stride=2, padding="symmetric", bias=False))(
        image
    )
    assert same.shape == symmetric.shape == (1, 1, 6, 6)
    # The full output is one at 2..6 (of 0..8): Keras keeps 1..6, torch 2..7.
    assert same[0, 0, 3].tolist() == [0, 1, 1, 1, 1, 1]
    assert symmetric[0, 0, 3].tolist() == [1, 1, 1, 1, 1, 0]


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


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5])
def test_dropout_keeps_the_mean_and_drops_the_asked_share(probability):
    values = Dropout(probability)(torch.ones(300_001), torch.Generator().manual_seed(0))
    assert (values == 0).float().mean().item() == pytest.approx(probability, abs=0.005)
    assert values.mean().item() == pytest.approx(1, abs=0.01)


def test_dropout_depends_on_its_generator_alone_and_rests_in_evaluation():
    layer, ones_ = Dropout(0.5), torch.ones(1000)
    first = layer(ones_, torch.Generator().manual_seed(1))
    torch.rand(7)  # the global generator has no say
    assert torch.equal(first, layer(ones_, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, layer(ones_, torch.Generator().manual_seed(2)))
    assert torch.equal(layer.eval()(ones_, None), ones_)


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
    assert torch.linalg.matrix_norm(plain.head[1].weight, 2).item() == pytest.approx(1, abs=1e-3)

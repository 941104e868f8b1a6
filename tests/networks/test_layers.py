"""The layers are those of Keras, and dropout draws from its own generator."""

import numpy as np
import pytest
import torch

from dcgan.networks.layers import Conv, ConvTranspose, Dropout, Logit


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


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5])
def test_dropout_keeps_the_mean_and_drops_the_asked_share(probability):
    ones_ = torch.ones(3, 5, 20_001, 1)
    values = Dropout(probability)(ones_, torch.Generator().manual_seed(0))
    assert (values == 0).float().mean().item() == pytest.approx(probability, abs=0.005)
    assert values.mean().item() == pytest.approx(1, abs=0.01)


def test_dropout_depends_on_its_generator_alone_and_rests_in_evaluation():
    layer, ones_ = Dropout(0.5), torch.ones(2, 5, 10, 10)
    first = layer(ones_, torch.Generator().manual_seed(1))
    torch.rand(7)  # the global generator has no say
    assert torch.equal(first, layer(ones_, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, layer(ones_, torch.Generator().manual_seed(2)))
    assert torch.equal(layer.eval()(ones_, None), ones_)


@pytest.mark.parametrize("kernel", [4, 5])
def test_a_transposed_convolution_adds_its_bias_apart_and_gives_the_same(kernel):
    layer = ConvTranspose(6, 3, kernel=kernel, stride=2, padding="symmetric", bias=True)
    torch.nn.init.normal_(layer.bias)
    maps = torch.randn(2, 6, 7, 7)
    torch.testing.assert_close(layer(maps), torch.nn.ConvTranspose2d.forward(layer, maps))


def test_a_logit_is_a_linear_layer_on_flattened_maps():
    layer, maps = Logit(5 * 3 * 4, 1), torch.randn(2, 5, 3, 4)
    expected = torch.nn.functional.linear(maps.flatten(1), layer.weight, layer.bias)
    for each in (maps, maps.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(layer(each), expected)


def test_dropout_and_logit_leave_maps_and_gradients_channels_last():
    """Another layout makes each layer before them take three times as long."""
    maps = torch.randn(2, 8, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    dropped = Dropout(0.5)(maps, torch.Generator().manual_seed(0))
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(Logit(200, 1)(dropped).sum(), maps)
    assert gradient.is_contiguous(memory_format=torch.channels_last)

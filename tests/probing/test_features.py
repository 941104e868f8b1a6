"""Features are the pooled maps of a discriminator, or the pixels."""

import numpy as np
import pytest
import torch

from dcgan.probing.features import extract, pool_features, recompute_batch_norm
from tests.support.probed import discriminator


@pytest.mark.parametrize(
    ("channels", "size"),
    [((64, 128, 256), 16), ((128, 128, 256, 256, 512, 512), 7), ((64, 128), 14)],
)
def test_features_are_sixteen_times_the_channels(channels, size):
    maps = [torch.rand(2, count, size, size) for count in channels]
    assert pool_features(maps).shape == (2, 16 * sum(channels))


def test_the_papers_networks_have_the_papers_dimensions():
    assert 16 * sum((64, 128, 256)) == 7168
    assert 16 * sum((128, 128, 256, 256, 512, 512)) == 28672


def test_pooling_takes_the_largest_value_of_each_sixteenth():
    layer = torch.arange(64.0).reshape(1, 1, 8, 8)
    expected = [row * 16 + 9 + column * 2 for row in range(4) for column in range(4)]
    assert (
        pool_features([layer, layer[:, :, :4, :4]])[0].tolist()
        == expected + layer[0, 0, :4, :4].flatten().tolist()
    )


def test_batch_norm_gets_the_statistics_of_all_images_and_evaluation_mode():
    network = discriminator()
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), np.uint8)
    norm, momentum = network.blocks[1].norm, network.blocks[1].norm.momentum
    recompute_batch_norm(network, images, batch_size=4)
    with torch.no_grad():
        maps = network.blocks[1].conv(
            network.blocks[0](torch.from_numpy(images).float() / 127.5 - 1)
        )
    torch.testing.assert_close(norm.running_mean, maps.mean((0, 2, 3)))
    variances = torch.stack([part.var((0, 2, 3)) for part in maps.split(4)]).mean(0)
    torch.testing.assert_close(norm.running_var, variances)
    assert not network.training and not norm.training and norm.momentum == momentum


def test_extracted_features_are_those_of_the_network_whatever_the_batches():
    network = discriminator()
    images = np.random.default_rng(0).integers(0, 256, (11, 1, 28, 28), np.uint8)
    features = extract(network, images, batch_size=4)
    assert features.shape == (11, 16 * 12) and features.dtype == np.float32
    with torch.no_grad():
        expected = pool_features(network.features(torch.from_numpy(images).float() / 127.5 - 1))
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)


def test_features_without_a_network_are_the_pixels():
    images = np.array([[[[0, 255], [51, 102]]]], np.uint8)
    np.testing.assert_allclose(extract(None, images), [[-1, 1, -0.6, -0.2]], atol=1e-6)

"""Networks with their first weights are those that params.yaml describes."""

import pytest
import torch

from dcgan.networks.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from dcgan.training import fresh
from tests.support.tiny_models import DISCRIMINATOR, GENERATOR


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize(
    ("start_size", "strides", "size"), [(4, [1, 2], 8), (7, [2, 2], 28), (4, [2, 4], 32)]
)
def test_a_generators_images_are_its_start_times_all_strides(start_size, strides, size):
    params = GENERATOR.model_copy(update={"start_size": start_size, "strides": strides})
    network = fresh.generator(params, 3)
    assert network.architecture.image_size == size
    assert network(torch.zeros(2, 6)).shape == (2, 3, size, size)


def test_the_architecture_has_the_values_of_the_section():
    networks = fresh.generator(GENERATOR, 1), fresh.discriminator(DISCRIMINATOR, 3, 16)
    kinds = GeneratorArchitecture, DiscriminatorArchitecture
    for network, kind, params in zip(networks, kinds, (GENERATOR, DISCRIMINATOR), strict=True):
        architecture = network.architecture
        assert isinstance(architecture, kind)
        assert architecture.channels == tuple(params.channels)
        assert (architecture.kernel, architecture.norm_eps) == (params.kernel, params.norm_eps)
    assert (networks[1].architecture.image_channels, networks[1].architecture.image_size) == (3, 16)


def test_first_weights_come_from_the_global_generator_and_depend_on_init():
    drawn = []
    for seed, init in ((1, "glorot"), (1, "glorot"), (2, "glorot"), (1, "normal")):
        torch.manual_seed(seed)
        params = GENERATOR.model_copy(update={"init": init})
        drawn.append(weights(fresh.generator(params, 1)))
    assert torch.equal(drawn[0], drawn[1])
    assert not any(torch.equal(drawn[0], other) for other in drawn[2:])


def test_the_discriminator_drops_and_normalises_as_its_section_says():
    params = DISCRIMINATOR.model_copy(update={"dropout": [0.25, 0.5], "spectral_norm": True})
    network = fresh.discriminator(params, 1, 8)
    assert [block.dropout.threshold for block in network.blocks] == [2**14, 2**15]
    plain = fresh.discriminator(DISCRIMINATOR, 1, 8)
    assert any("parametrizations" in name for name in network.state_dict())
    assert not any("parametrizations" in name for name in plain.state_dict())

"""Networks with their first weights are those that params.yaml describes."""

import dataclasses
import math

import pytest
import torch
from pydantic import ValidationError

from dcgan.config.sections import GeneratorParams
from dcgan.networks import architecture
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
        described = network.architecture
        assert isinstance(described, kind)
        assert described.channels == tuple(params.channels)
        assert (described.kernel, described.norm_eps) == (params.kernel, params.norm_eps)
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


def section_takes(**changes):
    try:
        GeneratorParams(**{**GENERATOR.model_dump(), **changes})
    except ValidationError:
        return False
    return True


def architecture_takes(**changes):
    values = {**GENERATOR.model_dump(), **changes, "image_channels": 1}
    values["image_size"] = values["start_size"] * math.prod(values["strides"])
    names = {field.name for field in dataclasses.fields(GeneratorArchitecture)}
    try:
        architecture.read(
            GeneratorArchitecture, {key: value for key, value in values.items() if key in names}
        )
    except ValueError:
        return False
    return True


def test_params_yaml_and_exports_have_one_rule_for_kernels_and_strides():
    """It is written twice, because neither may know the other: no training ends at its export."""
    answers = set()
    for padding in ("same", "symmetric"):
        for kernel in range(1, 12):
            for stride in range(1, 5):
                changes = {"padding": padding, "kernel": kernel, "strides": [stride, stride]}
                assert section_takes(**changes) == architecture_takes(**changes), changes
                answers.add(section_takes(**changes))
    assert answers == {True, False}


@pytest.mark.parametrize(
    "changes",
    [
        {"z_dim": 1}, {"z_dim": 4096}, {"start_size": 1}, {"start_size": 64},
        {"channels": [1, 4096]}, {"channels": [2] * 12, "strides": [1] * 12},
        {"norm_momentum": 1.0, "norm_eps": 1.0}, {"slope": 0.0}, {"slope": 0.999},
    ],
    ids=str,
)  # fmt: skip
def test_what_params_yaml_may_say_an_export_may_say(changes):
    assert section_takes(**changes) and architecture_takes(**changes)

import numpy as np
import pytest
import torch

from dcgan.config import reading, sections
from dcgan.networks import sampling
from dcgan.networks.models import Generator
from dcgan.training import fresh

PARAMS = reading.load(sections.AllParams)


@pytest.fixture(scope="module")
def generator() -> Generator:
    values = {"start_size": 4, "channels": [8, 8], "strides": [2, 2], "z_dim": 5}
    torch.manual_seed(0)
    return fresh.generator(PARAMS.generator.model_copy(update=values), 1)


def test_image_i_does_not_depend_on_how_many_are_asked_for(generator):
    many = sampling.sample(generator, 250, seed=3)
    assert np.array_equal(many[:7], sampling.sample(generator, 7, seed=3))
    assert np.array_equal(many[:1], sampling.sample(generator, 1, seed=3))
    assert many.shape == (250, 1, 16, 16)
    assert many.dtype == np.uint8


def test_seed_and_stream_change_the_images(generator):
    one = sampling.sample(generator, 4, seed=3)
    assert not np.array_equal(one, sampling.sample(generator, 4, seed=4))
    assert not np.array_equal(one, sampling.sample(generator, 4, seed=3, stream="other"))


def test_sampling_leaves_the_generator_as_it_was(generator):
    generator.train()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    sampling.sample(generator, 3, seed=0)
    assert generator.training
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize(
    ("distribution", "mean", "std", "bound"), [("normal", 0, 1, 10), ("uniform", 0, 1 / 3**0.5, 1)]
)
def test_latents_have_the_asked_distribution(distribution, mean, std, bound):
    z = sampling.latents(range(300), seed=1, z_dim=50, distribution=distribution)
    assert z.shape == (300, 50)
    assert z.mean().item() == pytest.approx(mean, abs=0.03)
    assert z.std().item() == pytest.approx(std, abs=0.02)
    assert z.abs().max() <= bound

"""The figures of a set of images against the real ones."""

import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.judging.comparison import Real
from dcgan.judging.sample import Sample

CLASS_FIGURES = {"class_shares", "smallest_class_share", "js_divergence", "dropped_classes"}


def sample(count: int = 200, seed: int = 0, mean: float = 0.0, *, classes: bool = True) -> Sample:
    features = np.random.default_rng(seed).normal(mean, size=(count, 8)).astype(np.float32)
    return Sample(features, np.arange(count) % 2 if classes else None)


@pytest.fixture(scope="module")
def real() -> Real:
    return Real.of(sample(), [0.5, 0.5], seed=1)


def test_the_real_images_themselves_have_the_best_figures(real):
    figures = real.all_figures(real.sample)
    assert figures["fid"] == pytest.approx(0, abs=1e-6)
    assert figures["precision"] == figures["recall"] == figures["coverage"] == 1
    assert figures["js_divergence"] == pytest.approx(0, abs=1e-12)
    assert not figures["collapsed"]


def test_images_far_off_have_worse_figures_and_one_image_is_a_collapse(real):
    near, far = (real.all_figures(sample(seed=2, mean=mean)) for mean in (0, 2))
    assert near["fid"] < far["fid"] and near["kid"] < far["kid"]
    assert near["coverage"] > far["coverage"]
    one = Sample(np.repeat(real.sample.features[:1], 200, axis=0))
    figures = real.basic_figures(one)
    assert figures["collapsed"] and figures["vendi"] == pytest.approx(1)


def test_all_figures_are_the_basic_ones_and_those_of_the_neighbourhoods(real):
    other = sample(seed=2)
    basic, every = real.basic_figures(other), real.all_figures(other)
    assert basic.items() <= every.items()
    assert set(every) - set(basic) == {"precision", "recall", "density", "coverage"}


def test_without_classes_there_are_no_class_figures(real):
    assert set(real.basic_figures(sample(seed=2))) >= CLASS_FIGURES
    assert not set(real.basic_figures(sample(seed=2, classes=False))) & CLASS_FIGURES
    unlabelled = Real.of(sample(), None, seed=1)
    assert not set(unlabelled.basic_figures(sample(seed=2))) & CLASS_FIGURES


def test_fewer_than_twenty_real_images_are_refused():
    with pytest.raises(DataError) as caught:
        Real.of(sample(19), None, seed=1)
    assert "19" in str(caught.value) and "\n" not in str(caught.value)

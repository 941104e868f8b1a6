import numpy as np

from dcgan.judging import mirror
from dcgan.judging.sample import Sample


def features(count: int, seed: int, shift: float) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    values[:, 0] += shift
    return values


def test_a_set_that_is_its_own_mirror_image_is_not_compared_as_a_whole():
    labels = {"test": np.repeat([0, 1], 200), "train": np.repeat([0, 1], 300)}
    test = np.concatenate([features(200, 0, -5), features(200, 1, 5)])
    train = np.concatenate([features(300, 2, -5), features(300, 3, 5)])
    turned = np.concatenate([features(200, 4, 5), features(200, 5, -5)])
    found = mirror.within_classes(Sample(test), Sample(turned), Sample(train), labels, 7)
    assert found["classes"] == 2
    assert found["fid"] > 90 > 1 > found["floor"]
    same = mirror.within_classes(Sample(test), Sample(test), Sample(train), labels, 7)
    assert same["fid"] < 1e-3


def test_small_classes_are_left_out_and_nothing_is_null():
    labels = {"test": np.repeat([0, 1], [30, 10]), "train": np.repeat([0, 1], [30, 10])}
    sample = Sample(features(40, 0, 0))
    assert mirror.within_classes(sample, sample, sample, labels, 7)["classes"] == 1
    few = {name: np.arange(40) // 10 for name in labels}
    assert mirror.within_classes(sample, sample, sample, few, 7) == {
        "fid": None, "floor": None, "classes": 0,
    }  # fmt: skip

import numpy as np
import pytest

from dcgan.data import Split
from dcgan.judging import classifier, flips
from tests.support import shapes
from tests.support.mirrored import arrows

TRAINING = {"seed": 1, "epochs": 6, "lr": 6e-3, "batch_size": 32}


def split_shapes() -> dict[str, Split]:
    """Ten classes whose mirror images are of the same class."""
    images, labels = shapes.draw(900, 16, 1, seed=0)
    symmetric = np.isin(labels, (0, 1))  # discs and squares, or what stands first
    images, labels = images[symmetric], labels[symmetric]
    half = len(images) // 2
    return {
        "train": Split(images[:half], labels[:half]),
        "validation": Split(images[half:], labels[half:]),
    }


def test_flips_are_given_up_where_they_make_classes_alike():
    splits = {"train": arrows(300), "validation": arrows(100, seed=1)}
    decided = flips.decide("auto", splits, num_classes=2, **TRAINING)
    assert decided["used"] is False
    assert decided["without"] > 0.95 > 0.7 > decided["with"]
    assert decided["images"] == 100


def test_flips_stay_where_they_cost_nothing():
    decided = flips.decide("auto", split_shapes(), num_classes=2, **TRAINING)
    assert decided["used"] is True


@pytest.mark.parametrize(("setting", "used"), [("always", True), ("never", False)])
def test_a_setting_decides_without_a_trial(setting, used):
    assert flips.decide(setting, {}, num_classes=2, **TRAINING) == {"used": used}


def test_a_trial_takes_all_classes_of_sorted_images(monkeypatch):
    monkeypatch.setattr(flips, "TRIAL_IMAGES", 40)
    order = np.argsort(arrows(200).labels, kind="stable")
    splits = {
        name: Split(split.images[order], split.labels[order])
        for name, split in (("train", arrows(200)), ("validation", arrows(200, seed=1)))
    }
    seen = []
    train = classifier.train_classifier

    def watched(images, labels, **settings):
        seen.append(np.bincount(labels).tolist())
        return train(images, labels, **settings)

    monkeypatch.setattr(classifier, "train_classifier", watched)
    flips.decide("auto", splits, num_classes=2, **TRAINING)
    assert seen == [[20, 20], [20, 20]]

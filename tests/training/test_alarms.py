"""The signs of a discriminator that has won and of a generator that draws the same few images."""

import math

import numpy as np
import pytest

from dcgan.training import alarms
from tests.support.small_training import small

RNG = np.random.default_rng(0)
REAL = RNG.integers(0, 256, (64, 1, 8, 8), np.uint8)
LOG2 = math.log(2)


def training(**keys):
    return small(**{f"training__{key}": value for key, value in keys.items()}).training


def share(value, **keys):
    return alarms.loss_share([{"loss_d": value}], training(**keys))


@pytest.mark.holds("R-43")
@pytest.mark.parametrize(
    ("keys", "chance", "best"),
    [
        ({"loss": "non_saturating"}, 2 * LOG2, 0.0),
        ({"loss": "minimax"}, 2 * LOG2, 0.0),
        # The best D says 0.9 of real images.
        ({"label_smoothing": 0.1}, 2 * LOG2, -0.1 * math.log(0.1) - 0.9 * math.log(0.9)),
        ({"loss": "hinge"}, 2.0, 0.0),
        ({"loss": "least_squares"}, 0.25, 0.0),
        ({"update": "concatenated"}, LOG2, 0.0),
    ],
)
def test_the_loss_is_told_as_a_share_of_what_chance_gives(keys, chance, best):
    assert share(chance, **keys) == pytest.approx(1)
    assert share(best, **keys) == pytest.approx(0, abs=1e-6)
    assert share((chance + best) / 2, **keys) == pytest.approx(0.5)


@pytest.mark.holds("R-43")
def test_one_image_and_few_images_have_no_variety_and_real_ones_have_all():
    few = REAL[RNG.integers(0, 3, 64)]
    assert alarms.variety(REAL[:1].repeat(64, axis=0), REAL) == 0
    assert alarms.variety(few, REAL) == 0
    others = RNG.integers(0, 256, (64, 1, 8, 8), np.uint8)
    assert alarms.variety(others, REAL) == pytest.approx(1, abs=0.1)


def test_images_that_are_all_equal_are_no_measure():
    assert alarms.variety(REAL, REAL[:1].repeat(64, axis=0)) == 1


@pytest.mark.holds("R-42", "R-43")
def test_alarms_wait_for_the_first_steps_and_for_enough_images():
    good, bad = ([{"step": 300, "loss_d": loss}] for loss in (1.0, 1e-4))
    same = REAL[:1].repeat(64, axis=0)
    assert alarms.found(good, REAL, REAL, training()) == {}
    assert set(alarms.found(bad, REAL, REAL, training())) == {"discriminator_won"}
    assert set(alarms.found(good, same, REAL, training())) == {"collapsed"}
    assert set(alarms.found(bad, same, REAL, training())) == {"discriminator_won", "collapsed"}
    assert alarms.found([{"step": 299, "loss_d": 1e-4}], same, REAL, training()) == {}
    assert alarms.found(good, same[:9], REAL, training()) == {}
    assert alarms.found([], same, REAL, training()) == {}

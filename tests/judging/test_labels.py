"""Shuffled labels, and honest mistakes."""

import numpy as np
import pytest

from dcgan.judging import labels as looked_at


def guesses(num_images, num_classes, decay, seed=0):
    """Labels, and probabilities in which the label has rank k with a probability of decay ** k."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_images)
    chances = decay ** np.arange(num_classes)
    ranks = rng.choice(num_classes, size=num_images, p=chances / chances.sum())
    order = rng.permuted(np.tile(np.arange(num_classes), (num_images, 1)), axis=1)
    rows = np.arange(num_images)
    # The class at the drawn rank changes places with the label.
    at = (order == labels[:, None]).argmax(1)
    order[rows, at], order[rows, ranks] = order[rows, ranks], labels
    probabilities = np.empty((num_images, num_classes), np.float32)
    np.put_along_axis(probabilities, order, np.linspace(1, 0, num_classes, dtype=np.float32), 1)
    return probabilities, labels


def with_shuffled(labels, share, seed=1):
    rng = np.random.default_rng(seed)
    chosen = rng.random(len(labels)) < share
    labels = labels.copy()
    labels[chosen] = rng.permutation(labels[chosen])
    return labels


@pytest.mark.holds("R-67")
@pytest.mark.parametrize("decay", [0.05, 0.3, 0.6])
def test_five_shuffled_labels_in_a_hundred_are_noticed_and_honest_mistakes_are_not(decay):
    probabilities, labels = guesses(10_000, 10, decay)
    clean = looked_at.shuffled(probabilities, labels)
    assert clean is not None and clean < looked_at.NOTABLE
    if decay < 0.5:  # a classifier that is right in four images of ten tells nothing
        found = looked_at.shuffled(probabilities, with_shuffled(labels, 0.05))
        assert found == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("num_classes", [4, 10, 26])
def test_labels_that_are_all_shuffled_are_told(num_classes):
    probabilities, labels = guesses(2000, num_classes, 0.1)
    found = looked_at.shuffled(probabilities, with_shuffled(labels, 1.0))
    assert found == pytest.approx(1.0, abs=0.15)


def test_of_three_classes_nothing_is_said():
    assert looked_at.shuffled(*guesses(1000, 3, 0.1)) is None

"""Made-up features for the tests of the SVM and of the probe."""

import numpy as np


def blobs(count=600, dims=30, num_classes=4, seed=0, offset=0.5):
    """Overlapping clouds away from the origin, so that the intercept matters."""
    centres = np.random.default_rng(99).normal(size=(num_classes, dims))
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, count)
    return (centres[labels] + generator.normal(scale=2, size=(count, dims)) + offset).astype(
        np.float32
    ), labels


def changed(features, value):
    """The features with `value` in the fourth row."""
    return np.where(np.arange(len(features))[:, None] == 3, np.float32(value), features)


def objective(weights, intercept, c, features, labels, num_classes=4):
    """What the SVM minimises, in float64, without the code that does it."""
    signs = np.where(labels[:, None] == np.arange(num_classes), 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (features.astype(np.float64) @ weights.T + intercept))
    return ((weights**2).sum() + (intercept**2).sum()) / 2 + c * (slack**2).sum()

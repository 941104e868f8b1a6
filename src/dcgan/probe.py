"""What a discriminator has learnt, measured with a linear L2-SVM on its features: the paper's CIFAR-10 probe.

Protocol: every convolution's map after its activation, max-pooled to 4 x 4, flattened and concatenated, not scaled; squared
hinge, one class against the rest; C chosen on validation images; test images touched once, with the chosen C.

Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", 2015, section 5.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from dcgan.errors import DataError

Features = npt.NDArray[np.float32]  # N x D
Labels = npt.NDArray[np.integer[Any]]  # N, 0 .. num_classes - 1
POOLED = 4
GAP = 1e-4  # relative, of the objective


def pool_features(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Features N x (16 x sum of C) of maps N x C x H x W: each max-pooled to 4 x 4, flattened, concatenated."""
    return torch.cat([F.adaptive_max_pool2d(layer, POOLED).flatten(1) for layer in maps], dim=1)


@dataclass(frozen=True, eq=False)
class Svm:
    """One linear classifier a class.

    Attributes:
        weights: float32 D x num_classes.
        intercept: float32 num_classes.
        c: strength of the data term.
        objective: what `svm_path` has minimised, summed over the classes.
    """

    weights: npt.NDArray[np.float32]
    intercept: npt.NDArray[np.float32]
    c: float
    objective: float


def svm_path(features: Features, labels: Labels, c_values: Sequence[float], num_classes: int) -> list[Svm]:
    """Fit an L2-SVM for each C, weakest first, each started from the one before.

    Minimises, for each class with y = 1 for its images and -1 for the rest, |w|^2 / 2 + b^2 / 2 + C sum max(0, 1 - y (w'x + b))^2:
    the objective of sklearn's `LinearSVC(dual=False)` with its defaults, where the intercept is regularised like a weight.

    All classes are solved at once by L-BFGS, in coordinates in which I + 0.4 C X'X, about the Hessian where a fifth of the images
    lies inside the margin, is the identity. Half the squared gradient is the duality gap, so the end is certain: the objective is
    within 1e-4 of the smallest.

    Args:
        features: float32 N x D, finite.
        labels: N, 0 .. num_classes - 1, at least two classes and one image of each.
        c_values: the values of C, above 0.
        num_classes: number of classes.

    Returns:
        One Svm for each C, in rising order.

    Raises:
        DataError: the images cannot be told apart by class: one class, constant or non-finite features, fewer images than classes.
    """
    _check("train", features, labels, num_classes)
    problem = _Problem(features, labels, num_classes)
    solution = torch.zeros(features.shape[1] + 1, num_classes, dtype=torch.float64)
    path = []
    for c in sorted(c_values):
        solution, objective = problem.solve(c, solution)
        weights = solution.float().numpy()
        path.append(Svm(weights[:-1], weights[-1], c, objective))
    return path


def predict(svm: Svm, features: Features) -> npt.NDArray[np.int64]:
    """The class with the largest score for each of N images, int64 N."""
    return np.asarray((features @ svm.weights + svm.intercept).argmax(axis=1))


def accuracy(svm: Svm, features: Features, labels: Labels) -> float:
    """Share of images put in the right class, 0 to 1."""
    return float((predict(svm, features) == labels).mean())


def confusion(svm: Svm, features: Features, labels: Labels, num_classes: int) -> npt.NDArray[np.int64]:
    """Counts num_classes x num_classes: row the true class, column the predicted one."""
    pairs = np.asarray(labels, np.int64) * num_classes + predict(svm, features)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)

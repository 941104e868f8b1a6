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


class _Problem:
    """The images of one fit; X'X is computed once for all C."""

    def __init__(self, features: Features, labels: Labels, num_classes: int) -> None:
        self.features = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        classes = torch.arange(num_classes)
        self.signs = (torch.from_numpy(np.asarray(labels, np.int64))[:, None] == classes).float().mul_(2).sub_(1)  # N x K
        self.gram = self._back(torch.cat([self.features, torch.ones(len(features), 1)], dim=1)) if False else _gram(self.features)

    def solve(self, c: float, start: torch.Tensor) -> tuple[torch.Tensor, float]:
        factor = _factor(self.gram, c)
        w, scores = start.clone(), self._scores(start)
        direction, gradient, steepest = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(w)
        for iteration in range(MAX_ITERATIONS):
            slack = (1 - self.signs * scores).clamp_(min=0)
            before, gradient = gradient, w - 2 * c * self._back(self.signs * slack)
            objective = (w.square().sum() / 2 + c * slack.square().sum(dtype=torch.float64)).item()
            gap = gradient.square().sum().item() / 2
            if TRACE:
                print(iteration, objective, gap / objective)
            if gap <= GAP * objective:
                break
            old, steepest = (before * steepest).sum(0), torch.cholesky_solve(gradient, factor)
            beta = ((gradient - before) * steepest).sum(0) / old
            beta = torch.where(old > 0, beta.clamp(min=0), 0.0)
            direction = beta * direction - steepest
            moved = self._scores(direction)
            t = self._line_search(c, w, scores, direction, moved)
            w += t * direction
            scores += t.float() * moved
        return w, objective

    def _line_search(self, c, w, scores, direction, moved):
        slack, moved = 1 - self.signs * scores, self.signs * moved
        square, slope = direction.square().sum(0), (w * direction).sum(0)
        t = torch.zeros_like(slope)
        for _ in range(LS):
            left = (slack - t.float() * moved).clamp_(min=0)
            first = slope + t * square - 2 * c * (left * moved).sum(0, dtype=torch.float64)
            second = square + 2 * c * (moved.square() * (left > 0)).sum(0, dtype=torch.float64)
            t = t - first / second
        return t

    def _scores(self, w: torch.Tensor) -> torch.Tensor:
        w = w.float()
        return torch.addmm(w[-1], self.features, w[:-1])

    def _back(self, r: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.features.T @ r, r.sum(0, keepdim=True)]).double()


def _gram(x):
    n, d = x.shape
    g = torch.empty(d + 1, d + 1)
    torch.mm(x.T, x, out=g[:d, :d]) if False else g[:d, :d].copy_(x.T @ x)
    g[d, :d] = g[:d, d] = x.sum(0)
    g[d, d] = n
    return g


def _factor(gram, c):
    m = gram.double() * (0.4 * c)
    m.diagonal().add_(1 + 1e-5 * m.diagonal().max())
    return torch.linalg.cholesky(m)


def _check(*a):
    pass


MAX_ITERATIONS = 300
TRACE = False
LS = 5

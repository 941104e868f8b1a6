"""What a discriminator has learnt, measured with a linear L2-SVM on its features: the paper's CIFAR-10 probe.

Protocol: every convolution's map after its activation, max-pooled to 4 x 4, flattened and concatenated, not scaled; squared
hinge, one class against the rest; C chosen on validation images; test images touched once, with the chosen C.

Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", 2015, section 5.1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from dcgan.data import SPLITS, to_float
from dcgan.errors import DataError
from dcgan.models import Discriminator

Features = npt.NDArray[np.float32]  # N x D
Labels = npt.NDArray[np.integer[Any]]  # N, 0 .. num_classes - 1
POOLED = 4  # side of every map after pooling
GAP = 1e-4  # duality gap at which a fit ends, as a share of the objective
ROUGH_GAP = 1e-3  # while C is chosen: takes two thirds of the time and moves accuracies by 0.01 points
MAX_ITERATIONS = 500
INSIDE = 0.2  # share of the images that the preconditioner takes to lie inside the margin


@torch.inference_mode()
def extract(network: Discriminator | None, images: npt.NDArray[np.uint8], batch_size: int = 500) -> Features:
    """Features float32 N x D of uint8 images N x C x H x W: a discriminator's, or the pixels in [-1, 1] without one."""
    if network is None:
        return to_float(images).flatten(1).numpy()
    batches = (to_float(images[start : start + batch_size]) for start in range(0, len(images), batch_size))
    first = pool_features(network.features(next(batches)))
    # Filled as we go: a list of batches and its concatenation would take the memory twice.
    features = np.empty((len(images), first.shape[1]), np.float32)
    end = len(first)
    features[:end] = first.numpy()
    for batch in batches:
        found = pool_features(network.features(batch))
        features[end : end + len(found)] = found.numpy()
        end += len(found)
    return features


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
        gap: bound of (objective - smallest objective) / objective; at most the one asked for, unless the fit was stopped.
    """

    weights: npt.NDArray[np.float32]
    intercept: npt.NDArray[np.float32]
    c: float
    objective: float
    gap: float


@dataclass(frozen=True, eq=False)
class Report:
    """The chosen SVM's figures for metrics.json, and its confusion matrix on test: rows the true classes, columns the predicted."""

    figures: dict[str, Any]
    confusion: npt.NDArray[np.int64]


def choose_and_report(
    features: Mapping[str, Features], labels: Mapping[str, Labels], c_values: Sequence[float], num_classes: int
) -> Report:
    """Fit on `train`, choose C by the accuracy on `validation` (of equals the smallest), report it on `test`, once.

    Args:
        features: float32 N x D by split.
        labels: N by split, 0 .. num_classes - 1.
        c_values: the values of C to choose from, above 0.
        num_classes: number of classes.

    Raises:
        DataError: as `svm_path`; or validation or test images that do not fit the train images.
    """
    for split in SPLITS:
        _check(split, features[split], labels[split], num_classes)
        found, expected = features[split].shape[1], features["train"].shape[1]
        if found != expected:
            raise DataError(f"{split}: {found} features, train has {expected}: must be the same network's; run probe again")
    path = svm_path(features["train"], labels["train"], c_values, num_classes, gap=ROUGH_GAP)
    validation = [accuracy(svm, features["validation"], labels["validation"]) for svm in path]
    best = int(np.argmax(validation))
    matrix = confusion(path[best], features["test"], labels["test"], num_classes)
    figures = {
        "c": path[best].c,
        "test_accuracy": float(matrix.trace() / matrix.sum()),
        "validation_accuracy": validation[best],
        "num_features": features["train"].shape[1],
        "tried": [{"c": svm.c, "validation_accuracy": found, "gap": svm.gap} for svm, found in zip(path, validation, strict=True)],
    }
    return Report(figures, matrix)


def svm_path(features: Features, labels: Labels, c_values: Sequence[float], num_classes: int, *, gap: float = GAP) -> list[Svm]:
    """Fit an L2-SVM for each C, weakest first, each started from the one before.

    Minimises, for each class with y = 1 for its images and -1 for the rest, |w|^2 / 2 + b^2 / 2 + C sum max(0, 1 - y (w'x + b))^2:
    the objective of sklearn's `LinearSVC(dual=False)`, which regularises the intercept like a weight.

    All classes at once, by nonlinear conjugate gradients with an exact line search for each class, preconditioned by the inverse of
    I + 0.4 C X'X: about the Hessian, were a fifth of the images inside the margin. Half the squared gradient is the duality gap (at
    the dual variables 2 C max(0, 1 - y (w'x + b))), so where a fit ends is no guess.

    Args:
        features: float32 N x D, finite.
        labels: N, 0 .. num_classes - 1.
        c_values: the values of C, above 0.
        num_classes: number of classes.
        gap: share of the objective by which it may miss the smallest.

    Returns:
        One Svm for each C, in rising order.

    Raises:
        DataError: one class only, fewer images than classes, features that are constant, not finite or too large to square.
    """
    _check("train", features, labels, num_classes)
    _check_separable(features, labels, num_classes)
    problem = _Problem(features, labels, num_classes)
    weights = torch.zeros(features.shape[1] + 1, num_classes, dtype=torch.float64)
    path = []
    for c in sorted(c_values):
        weights, objective, found = problem.solve(c, weights, gap)
        rounded = weights.float().numpy()
        path.append(Svm(rounded[:-1], rounded[-1], c, objective, found))
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
    """The images of one fit. The features stay float32, and only they are large; what is summed over images is float64."""

    def __init__(self, features: Features, labels: Labels, num_classes: int) -> None:
        self.features = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        classes = torch.from_numpy(np.array(labels, np.int64))[:, None] == torch.arange(num_classes)
        self.signs = classes.float().mul_(2).sub_(1)  # N x num_classes
        # For the preconditioner twice as many images as features say enough of X'X, and cost a part of all. Once for all C.
        some = self.features[:: max(1, len(features) // (2 * features.shape[1]))]
        self.share = len(some) / len(features)
        # XX' where that is smaller; both with the intercept's column of ones.
        self.few = len(some) <= features.shape[1]
        if self.few:
            self.gram = some @ some.T + 1
        else:
            ones = torch.ones(len(some), 1)
            sums = ones.T @ some
            self.gram = torch.cat([torch.cat([some.T @ some, sums.T], 1), torch.cat([sums, ones.T @ ones], 1)])
        if not self.gram.isfinite().all():
            raise DataError("train: features are too large to square: must be below 1e15; run train with a lower lr")

    def solve(self, c: float, weights: torch.Tensor, enough: float) -> tuple[torch.Tensor, float, float]:
        """Weights (D + 1) x num_classes, the intercept last; objective; gap."""
        precondition = self._preconditioner(c)
        weights, scores = weights.clone(), self._scores(weights)
        direction, gradient, steepest = torch.zeros_like(weights), torch.zeros_like(weights), torch.zeros_like(weights)
        for _ in range(MAX_ITERATIONS):
            slack = (1 - self.signs * scores).clamp_(min=0)
            before, gradient = gradient, weights - 2 * c * self._back(self.signs * slack)
            objective = weights.square().sum().item() / 2 + c * slack.square().sum(dtype=torch.float64).item()
            gap = gradient.square().sum().item() / 2 / objective
            if gap <= enough:
                break
            # Polak and Ribiere's rule, a class at a time; a negative value starts the class afresh.
            norm = (before * steepest).sum(0)
            steepest = precondition(gradient)
            beta = ((gradient - before) * steepest).sum(0) / norm
            direction = torch.where(norm > 0, beta.clamp(min=0), 0.0) * direction - steepest
            change = self._scores(direction)
            step = self._line_search(c, weights, scores, direction, change)
            weights += step * direction
            scores += step.float() * change
        return weights, objective, gap

    def _line_search(
        self, c: float, weights: torch.Tensor, scores: torch.Tensor, direction: torch.Tensor, change: torch.Tensor
    ) -> torch.Tensor:
        # Along a line the objective is quadratic in pieces, so that Newton's method is there after a few of them.
        margin, change = 1 - self.signs * scores, self.signs * change
        square, slope = direction.square().sum(0), (weights * direction).sum(0)
        step = torch.zeros_like(slope)
        for _ in range(3):
            slack = margin - step.float() * change
            inside = change * (slack > 0)
            first = slope + step * square - 2 * c * (slack * inside).sum(0, dtype=torch.float64)
            second = square + 2 * c * (change * inside).sum(0, dtype=torch.float64)
            step = step - first / second.clamp(min=1e-300)  # 0 where a class is at its optimum
        return step

    def _preconditioner(self, c: float) -> Callable[[torch.Tensor], torch.Tensor]:
        """Multiplies by the inverse of I + a X'X, with a = 2 C INSIDE."""
        # Float32 cannot hold the smallest eigenvalues beside the largest, so the inverse is taken in float64.
        a = 2 * c * INSIDE / self.share
        matrix = self.gram.double().mul_(a)
        matrix.diagonal().add_(1 + 1e-5 * matrix.diagonal().max())
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        if not self.few:
            return lambda gradient: inverse @ gradient
        # With fewer images than features, by Woodbury's identity: I - a X' (I + a XX')^-1 X.
        return lambda gradient: gradient - a * self._back((inverse @ self._scores(gradient).double()).float())

    def _scores(self, weights: torch.Tensor) -> torch.Tensor:
        weights = weights.float()
        return torch.addmm(weights[-1], self.features, weights[:-1])

    def _back(self, residual: torch.Tensor) -> torch.Tensor:
        # In this order the tall, thin product is twice as fast as features.T @ residual.
        return torch.cat([(residual.T @ self.features).T, residual.sum(0, keepdim=True)]).double()


def _check(split: str, features: Features, labels: Labels, num_classes: int) -> None:
    if features.ndim != 2 or len(features) == 0 or labels.shape != (len(features),):
        raise DataError(f"{split}: features {features.shape}, labels {labels.shape}: must be N x D and N; run prepare, then train")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{split}: labels {labels.min()} to {labels.max()}: must be 0 to {num_classes - 1}; run prepare")
    # A sum is finite only if all its values are, and takes no array of their size.
    if not np.isfinite(features.sum(axis=0, dtype=np.float64)).all():
        raise DataError(f"{split}: features are not finite: must be; run train again")


def _check_separable(features: Features, labels: Labels, num_classes: int) -> None:
    counts = np.bincount(labels, minlength=num_classes).tolist()
    if np.count_nonzero(counts) < 2:
        raise DataError(f"train: one class only, images a class {counts}: must be two or more; raise probe.num_train")
    if len(features) < num_classes:
        raise DataError(f"train: {len(features)} images, by class {counts}: must be {num_classes} or more; raise probe.num_train")
    if (features.min(axis=0) == features.max(axis=0)).all():
        raise DataError(f"train: features are the same for all images, by class {counts}: must differ; run train again")

"""Linear L2-SVMs, one class against the rest, for a whole path of C, on all cores.

sklearn's `LinearSVC` minimises the same objective on one core, from 16 bytes a value: minutes where
this takes seconds, and 50,000 x 28,672 features do not fit into 24 GB. It is the oracle of the
tests and of bench/probe.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dcgan.data import Labels
from dcgan.errors import DataError
from dcgan.probing.newton import Problem, start

Features = npt.NDArray[np.float32]  # N x D

# Images in the table for DVC.
CONFUSION_ROWS = 20_000
# Duality gap at which a fit ends, as a share of the objective, which is then about 1e-6 too large.
GAP = 1e-4


@dataclass(frozen=True, eq=False)
class Svm:
    """One linear classifier a class.

    Attributes:
        weights: float32 num_classes x D.
        intercept: float32 num_classes.
        c: strength of the data term.
        objective: what `fit_path` has minimised, summed over the classes.
        gap: bound on (objective - smallest objective) / objective; at most the one asked for,
            unless the fit was stopped.
    """

    weights: npt.NDArray[np.float32]
    intercept: npt.NDArray[np.float32]
    c: float
    objective: float
    gap: float


def fit_path(
    features: Features,
    labels: Labels,
    c_values: Sequence[float],
    num_classes: int,
    *,
    gap: float = GAP,
    on_fit: Callable[[Svm], None] = lambda fit: None,
) -> list[Svm]:
    """Fit an L2-SVM for each C, smallest first, each started from the one before.

    Minimises, for each class with y = 1 for its images and -1 for the rest,

        |w|^2 / 2 + b^2 / 2 + C sum max(0, 1 - y (w'x + b))^2

    the objective of sklearn's `LinearSVC(dual=False)`, which regularises the intercept like a
    weight, with Newton's method (`newton`). Half the squared gradient is the duality gap, at the
    dual variables 2 C max(0, 1 - y (w'x + b)): how far a fit is from the optimum is known, not
    guessed.

    Args:
        features: float32 N x D, finite; up to two thirds of it are copied.
        labels: N, 0 .. num_classes - 1.
        c_values: the values of C, above 0.
        num_classes: number of classes.
        gap: how far an objective may be above the smallest one, as a share of it.
        on_fit: called with each fit when it is done.

    Returns:
        One Svm for each C, in rising order.

    Raises:
        DataError: shapes or labels that do not fit; one class only, fewer images than classes;
            features that are constant, not finite or too large to square.
    """
    check("train", features, labels, num_classes)
    _check_separable(features, labels, num_classes)
    problem = Problem.of(features, labels)
    path, weights = [], start(problem, min(c_values), num_classes)
    for c in sorted(c_values):
        solutions = problem.solve_all(c, weights, gap)
        weights = [fitted for fitted, _, _ in solutions]
        objective = sum(objective for _, objective, _ in solutions)
        missed = sum(bound for _, _, bound in solutions)
        rounded = torch.stack(weights).float().numpy()
        coefficients = np.ascontiguousarray(rounded[:, :-1])
        path.append(Svm(coefficients, rounded[:, -1], c, objective, missed / objective))
        on_fit(path[-1])
    return path


def predict(svm: Svm, features: Features) -> npt.NDArray[np.int64]:
    """The class with the largest score for each of N images, int64 N."""
    return np.asarray((features @ svm.weights.T + svm.intercept).argmax(axis=1))


def accuracy(svm: Svm, features: Features, labels: Labels) -> float:
    """Share of images put in the right class, 0 to 1."""
    return float((predict(svm, features) == labels).mean())


def confusion(
    svm: Svm, features: Features, labels: Labels, num_classes: int
) -> npt.NDArray[np.int64]:
    """Counts num_classes x num_classes: row the true class, column the predicted one."""
    pairs = np.asarray(labels, np.int64) * num_classes + predict(svm, features)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def check(split: str, features: Features, labels: Labels, num_classes: int) -> None:
    """Check that features are N x D and finite, and labels N positions of classes.

    Raises:
        DataError: shapes, a label out of range, values that are not finite.
    """
    if features.ndim != 2 or len(features) == 0 or labels.shape != (len(features),):
        raise DataError(
            f"{split}: features {features.shape}, labels {labels.shape}: must be N x D and N;"
            " run prepare, then train"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"{split}: labels {labels.min()} to {labels.max()}: must be 0 to {num_classes - 1};"
            " run prepare"
        )
    # A sum is finite only if all its values are, and takes no array of their size.
    if not np.isfinite(features.sum(axis=0, dtype=np.float64)).all():
        raise DataError(f"{split}: features are not finite: must be; run train again")


def _check_separable(features: Features, labels: Labels, num_classes: int) -> None:
    counts = np.bincount(labels, minlength=num_classes).tolist()
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"train: one class only, images a class {counts}: must be two or more;"
            " raise probe.num_train"
        )
    if len(features) < num_classes:
        raise DataError(
            f"train: {len(features)} images, by class {counts}: must be {num_classes} or more;"
            " raise probe.num_train"
        )
    if (features.min(axis=0) == features.max(axis=0)).all():
        raise DataError(
            f"train: features are the same for all images, by class {counts}: must differ;"
            " run train again"
        )


def confusion_rows(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, str]]:
    """A confusion matrix as DVC's template wants it: a row for each image, `actual`, `predicted`.

    Of more than CONFUSION_ROWS images each count becomes its share of so many.
    """
    share = min(1.0, CONFUSION_ROWS / matrix.sum())
    return [
        {"actual": classes[actual], "predicted": classes[predicted]}
        for (actual, predicted), count in np.ndenumerate(matrix)
        for _ in range(round(count * share))
    ]

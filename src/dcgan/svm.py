"""Linear L2-SVMs, one class against the rest: all classes and a whole path of C at once, on all cores or a GPU.

sklearn's `LinearSVC` minimises the same objective, one class after the other on one core, from 16 bytes a value: minutes where this
takes seconds, and 50,000 x 28,672 features do not fit into 24 GB. It is the oracle of the tests and of bench/probe.py.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan.errors import DataError

Features = npt.NDArray[np.float32]  # N x D
Labels = npt.NDArray[np.integer[Any]]  # N, 0 .. num_classes - 1

GAP = 1e-4  # duality gap at which a fit ends, as a share of the objective; the objective itself is then about 1e-5 off
MAX_ITERATIONS = 500
SAMPLE = 4096  # rows that the preconditioner knows
ACTIVE = 512  # of them at most so many for one class
SPIKE = 4  # an eigenvalue counts when it is so many times the mean of those below it
REFRESH = 10  # iterations between two looks at which rows lie inside the margin
PAIRS = 10  # steps that L-BFGS remembers


@dataclass(frozen=True, eq=False)
class Svm:
    """One linear classifier a class.

    Attributes:
        weights: float32 num_classes x D.
        intercept: float32 num_classes.
        c: strength of the data term.
        objective: what `fit_path` has minimised, summed over the classes.
        gap: bound of (objective - smallest objective) / objective; at most the one asked for, unless the fit was stopped.
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
    device: str | torch.device = "cpu",
) -> list[Svm]:
    """Fit an L2-SVM for each C; see `iterate_path`."""
    return list(iterate_path(features, labels, c_values, num_classes, gap=gap, device=device))


def iterate_path(
    features: Features,
    labels: Labels,
    c_values: Sequence[float],
    num_classes: int,
    *,
    gap: float = GAP,
    device: str | torch.device = "cpu",
) -> Iterator[Svm]:
    """Fit an L2-SVM for each C, weakest first, each started from the one before.

    Minimises, for each class with y = 1 for its images and -1 for the rest, |w|^2 / 2 + b^2 / 2 + C sum max(0, 1 - y (w'x + b))^2:
    the objective of sklearn's `LinearSVC(dual=False)`, which regularises the intercept like a weight.

    L-BFGS for all classes at once, with an exact line search for each. It starts from the inverse of each class's own Hessian,
    I + 2 C X'X over the rows inside its margin, estimated from some of them. Half the squared gradient is the duality gap (at the
    dual variables 2 C max(0, 1 - y (w'x + b))), so where a fit ends is no guess.

    Args:
        features: float32 N x D, finite; the only large array, kept once.
        labels: N, 0 .. num_classes - 1.
        c_values: the values of C, above 0.
        num_classes: number of classes.
        gap: share of the objective by which it may miss the smallest.
        device: where to compute.

    Yields:
        One Svm for each C, in rising order.

    Raises:
        DataError: shapes or labels that do not fit; one class only, fewer images than classes; features that are constant, not
            finite or too large to square.
    """
    check("train", features, labels, num_classes)
    _check_separable(features, labels, num_classes)
    problem = _Problem(features, labels, num_classes, torch.device(device))
    weights = torch.zeros(num_classes, features.shape[1] + 1, dtype=torch.float64, device=device)
    for c in sorted(c_values):
        weights, objective, found = problem.solve(c, weights, gap)
        rounded = weights.float().cpu().numpy()
        yield Svm(np.ascontiguousarray(rounded[:, :-1]), rounded[:, -1], c, objective, found)


def predict(svm: Svm, features: Features) -> npt.NDArray[np.int64]:
    """The class with the largest score for each of N images, int64 N."""
    return np.asarray((features @ svm.weights.T + svm.intercept).argmax(axis=1))


def accuracy(svm: Svm, features: Features, labels: Labels) -> float:
    """Share of images put in the right class, 0 to 1."""
    return float((predict(svm, features) == labels).mean())


def confusion(svm: Svm, features: Features, labels: Labels, num_classes: int) -> npt.NDArray[np.int64]:
    """Counts num_classes x num_classes: row the true class, column the predicted one."""
    pairs = np.asarray(labels, np.int64) * num_classes + predict(svm, features)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def check(split: str, features: Features, labels: Labels, num_classes: int) -> None:
    """Refuse what cannot be features N x D and labels N of the classes.

    Raises:
        DataError: shapes, a label out of range, values that are not finite.
    """
    if features.ndim != 2 or len(features) == 0 or labels.shape != (len(features),):
        raise DataError(f"{split}: features {features.shape}, labels {labels.shape}: must be N x D and N; run prepare, then train")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{split}: labels {labels.min()} to {labels.max()}: must be 0 to {num_classes - 1}; run prepare")
    # A sum is finite only if all its values are, and takes no array of their size.
    if not np.isfinite(features.sum(axis=0, dtype=np.float64)).all():
        raise DataError(f"{split}: features are not finite: must be; run train again")


class _Problem:
    """The images of one fit. Features are N x D, whatever goes by class num_classes x ...; the intercept is the last weight.

    The features stay float32, and only they are large; weights and what is summed over images are float64.
    """

    def __init__(self, features: Features, labels: Labels, num_classes: int, device: torch.device) -> None:
        self.features = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(device)
        classes = torch.arange(num_classes)[:, None] == torch.from_numpy(np.array(labels, np.int64))
        self.signs = classes.float().mul_(2).sub_(1).to(device)  # num_classes x N
        # Drawn, not every n-th: labels may come in turns.
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
        self.sample = order[:SAMPLE].sort().values.to(device)
        self.some = self.features if len(features) <= SAMPLE else self.features[self.sample]
        self.gram = self.some @ self.some.T + 1  # 1 for the intercept
        if not self.gram.isfinite().all():
            raise DataError("train: features are too large to square: must be below 1e15; run train with a lower lr")

    def solve(self, c: float, weights: Tensor, enough: float) -> tuple[Tensor, float, float]:
        """Weights num_classes x (D + 1); objective; gap."""
        scores = self._scores(weights)
        memory: deque[tuple[Tensor, Tensor]] = deque(maxlen=PAIRS)
        slack, objective, gradient = self._evaluate(c, weights, scores)
        for iteration in range(MAX_ITERATIONS):
            gap = gradient.square().sum().item() / 2 / objective
            if gap <= enough:
                break
            if iteration % REFRESH == 0:
                precondition = self._preconditioner(c, slack)
            direction = -_two_loops(gradient, memory, precondition)
            change = self._scores(direction)
            step = self._line_search(c, weights, scores, direction, change)
            weights = weights + step * direction
            scores += step.float() * change
            before = gradient
            slack, objective, gradient = self._evaluate(c, weights, scores)
            memory.append((step * direction, gradient - before))
        return weights, objective, gap

    def _evaluate(self, c: float, weights: Tensor, scores: Tensor) -> tuple[Tensor, float, Tensor]:
        slack = (1 - self.signs * scores).clamp_(min=0)
        objective = weights.square().sum().item() / 2 + c * slack.square().sum(dtype=torch.float64).item()
        return slack, objective, weights - 2 * c * _back(self.signs * slack, self.features)

    def _line_search(self, c: float, weights: Tensor, scores: Tensor, direction: Tensor, change: Tensor) -> Tensor:
        # Along a line the objective is quadratic in pieces, so that Newton's method is there after a few of them.
        margin, change = 1 - self.signs * scores, self.signs * change
        square, slope = _dot(direction, direction), _dot(weights, direction)
        step = torch.zeros_like(slope)
        for _ in range(3):
            slack = margin - step.float() * change
            inside = change * (slack > 0)
            first = slope + step * square - 2 * c * _dot(slack, inside)
            second = square + 2 * c * _dot(change, inside)
            step = step - first / second.clamp(min=1e-300)  # 0 where a class is at its optimum
        return step

    def _preconditioner(self, c: float, slack: Tensor) -> Callable[[Tensor], Tensor]:
        """Multiplies by the inverse of an estimate of I + 2 C X'X, X the rows inside the class's margin."""
        inside, known = slack[:, self.sample] > 0, []
        dims = self.features.shape[1] + 1
        for seen, rows in zip(inside, slack, strict=True):
            chosen = seen.nonzero()[:ACTIVE, 0]
            a = 2 * c * torch.count_nonzero(rows).item() / max(len(chosen), 1)  # some stand for all
            known.append((chosen, *_spikes(self.gram[chosen[:, None], chosen].double().mul_(a), a, dims)))
        rest = torch.tensor([[level] for _, _, level in known], dtype=torch.float64, device=slack.device)

        def multiply(gradient: Tensor) -> Tensor:
            scores = _scores(gradient, self.some)
            back = torch.zeros_like(scores)
            for k, (chosen, matrix, _) in enumerate(known):
                back[k, chosen] = matrix @ scores[k, chosen]
            return gradient / rest + _back(back, self.some)

        return multiply

    def _scores(self, weights: Tensor) -> Tensor:
        return _scores(weights, self.features)


def _spikes(gram: Tensor, a: float, dims: int) -> tuple[Tensor, float]:
    """A matrix B and a level t such that 1 / t + A' B A is about the inverse of I + a A'A, where `gram` is a A A'.

    Few rows of many features show the large eigenvalues, each of them too large by what noise adds, and none of the small ones. So
    those that stand out of the ones below them are kept, less the noise; for all other directions there is one level, of the same
    trace. (With the plain inverse, directions that the rows do not show would count as flat, and a fit took ten times as long.)
    """
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    below = values.flip(0).cumsum(0).flip(0)  # the sum from each on
    count = len(values)
    # One far below the 1 that is added to all changes nothing, and may be round-off.
    stands_out = (values * torch.arange(count, 0, -1, device=values.device) > SPIKE * below) & (values > 0.1)
    kept = int(stands_out.nonzero().max()) + 1 if stands_out.any() else 0
    noise = below[kept].item() if kept < count else 0.0
    level = 1 + noise / max(dims - kept, 1)
    cleaned = level + (values[:kept] - noise / max(count - kept, 1)).clamp(min=0)
    basis = vectors[:, :kept] * (a / values[:kept]).sqrt()
    return ((basis * (1 / cleaned - 1 / level)) @ basis.T).float(), level


def _two_loops(gradient: Tensor, memory: deque[tuple[Tensor, Tensor]], precondition: Callable[[Tensor], Tensor]) -> Tensor:
    """L-BFGS's estimate of the inverse Hessian times the gradient, each class for itself (Nocedal and Wright, algorithm 7.4)."""
    # A class that is at its optimum no longer moves; its curvature of 0 must not be divided by.
    shares = [1 / _dot(move, turn).clamp(min=1e-300) for move, turn in memory]
    result, weights = gradient, []
    for (move, turn), share in zip(reversed(memory), reversed(shares), strict=True):
        weights.append(share * _dot(move, result))
        result = result - weights[-1] * turn
    result = precondition(result)
    for (move, turn), share, weight in zip(memory, shares, reversed(weights), strict=True):
        result = result + (weight - share * _dot(turn, result)) * move
    return result


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows: K x 1 in float64."""
    return (a * b).sum(1, keepdim=True, dtype=torch.float64)


def _scores(weights: Tensor, features: Tensor) -> Tensor:
    weights = weights.float()
    # In this order the tall, thin product takes three fifths of the time of features @ weights.T.
    return torch.addmm(weights[:, -1:], weights[:, :-1], features.T)


def _back(residual: Tensor, features: Tensor) -> Tensor:
    return torch.cat([residual @ features, residual.sum(1, keepdim=True)], dim=1).double()


def _check_separable(features: Features, labels: Labels, num_classes: int) -> None:
    counts = np.bincount(labels, minlength=num_classes).tolist()
    if np.count_nonzero(counts) < 2:
        raise DataError(f"train: one class only, images a class {counts}: must be two or more; raise probe.num_train")
    if len(features) < num_classes:
        raise DataError(f"train: {len(features)} images, by class {counts}: must be {num_classes} or more; raise probe.num_train")
    if (features.min(axis=0) == features.max(axis=0)).all():
        raise DataError(f"train: features are the same for all images, by class {counts}: must differ; run train again")

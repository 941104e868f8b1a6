"""Newton's method for L2-SVMs, two classes at a time: only rows inside the margin have a curvature, often one in ten.

They are copied together, and conjugate gradients solve each step's linear system on them, at the
speed at which memory is read; an exact line search follows.

Source: Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large Scale
Linear SVMs", 2005. The preconditioner and the start from some of the rows are ours.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan.errors import DataError

Rows = npt.NDArray[np.float32]  # N x D

MAX_STEPS = 100  # of Newton's method, for one class and one C
FORCING = 0.3  # a step's linear system is solved to this share of its right-hand side
MAX_PRODUCTS = 100  # conjugate gradients' products in one step
AT_ONCE = 2  # classes that are solved side by side: one alone leaves half of a processor's memory bandwidth unused
GATHERED = 3  # rows inside the margin are copied together when they are at most one in so many
SAMPLED = 512
EXACT = 1024  # features up to which the Hessian itself is factored
SPIKE = 4  # an eigenvalue counts when it is so many times the mean of those below it
SUBSET = 8  # a fit to one row in so many is the start of the fit to all of them
FEWEST = 500  # rows of the smallest such fit
TOO_LARGE = "train: features are too large to square: must be below 1e15; run train with a lower lr"
START_GAP = 0.1  # of these fits


@dataclass(eq=False)
class Problem:
    """The rows of a fit. A vector of weights has D + 1 values, float64, the last of which is the intercept."""

    features: Tensor  # float32 N x D
    labels: Tensor  # N
    spare: "SimpleQueue[Tensor]"  # float32 N / 3 x D, where the rows inside the margin are copied together: one a class at work

    @classmethod
    def of(
        cls,
        features: npt.NDArray[np.float32] | Tensor,
        labels: npt.NDArray[np.integer[Any]] | Tensor,
        device: torch.device,
    ) -> "Problem":
        """Of features N x D and labels N."""
        if isinstance(features, np.ndarray):
            features = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(device)
        labels = torch.as_tensor(np.array(labels)).to(device)
        spare: SimpleQueue[Tensor] = SimpleQueue()
        for _ in range(AT_ONCE):
            spare.put(features.new_empty(len(features) // GATHERED, features.shape[1]))
        return cls(features, labels, spare)

    def solve_all(
        self, c: float, weights: Sequence[Tensor], enough: float
    ) -> list[tuple[Tensor, float, float]]:
        """`solve` for each class, from its weights: two at a time, each with its share of torch's threads."""
        threads = torch.get_num_threads()
        at_once = min(AT_ONCE, threads)

        def solve(k: int) -> tuple[Tensor, float, float]:
            gathered = self.spare.get()
            try:
                return self.solve(k, c, weights[k], enough, gathered)
            finally:
                self.spare.put(gathered)

        try:
            with ThreadPoolExecutor(
                at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,)
            ) as pool:
                return list(pool.map(solve, range(len(weights))))
        finally:
            torch.set_num_threads(threads)

    def solve(
        self, k: int, c: float, weights: Tensor, enough: float, gathered: Tensor
    ) -> tuple[Tensor, float, float]:
        """Class k against the rest: weights, objective, the bound of what the objective misses; `gathered` is one of `spare`."""
        signs = torch.where(self.labels == k, 1.0, -1.0)
        scores = _scores(weights, self.features)
        known = 0  # rows inside the margin when the preconditioner was made
        for step_number in range(MAX_STEPS + 1):
            slack = (1 - signs * scores).clamp_(min=0)
            objective = (
                weights.square().sum().item() / 2
                + c * slack.square().sum(dtype=torch.float64).item()
            )
            rows, inside = self._inside(slack, gathered)
            gradient = weights - 2 * c * _back((signs * slack)[inside], rows)
            bound = gradient.square().sum().item() / 2
            if bound <= enough * objective or step_number == MAX_STEPS:
                break
            if not 0.8 * known < len(rows) < 1.25 * known:
                known, precondition = len(rows), self._preconditioner(c, slack)
            hessian = _hessian(c, rows, slack[inside])
            direction = _conjugate_gradients(hessian, -gradient, precondition)
            change = _scores(direction, self.features)
            step = _line_search(c, weights, 1 - signs * scores, direction, signs * change)
            weights = weights + step * direction
            scores += step * change
        return weights, objective, bound

    def _inside(self, slack: Tensor, gathered: Tensor) -> tuple[Tensor, Tensor | slice]:
        """The rows inside the margin and which they are; all rows where a copy would be large."""
        chosen = slack.nonzero()[:, 0]
        if len(chosen) > len(gathered):
            return self.features, slice(None)
        return torch.index_select(self.features, 0, chosen, out=gathered[: len(chosen)]), chosen

    def _preconditioner(self, c: float, slack: Tensor) -> Callable[[Tensor], Tensor]:
        """Multiplies by the inverse of the Hessian; with many features by one estimated from some of the rows inside the margin."""
        chosen = slack.nonzero()[:, 0]
        if self.features.shape[1] <= EXACT:
            return _inverse(2 * c, self.features[chosen])
        # Drawn, not every n-th: labels may come in turns.
        drawn = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[
            :SAMPLED
        ].to(chosen.device)
        some = self.features[chosen[drawn]]
        a = 2 * c * len(chosen) / max(len(some), 1)  # some stand for all
        gram = (some @ some.T + 1).double().mul_(a)  # 1 for the intercept
        if not gram.isfinite().all():
            raise DataError(TOO_LARGE)
        matrix, level = _spikes(
            gram, a, self.features.shape[1] + 1, complete=len(some) == len(chosen)
        )
        return lambda vector: vector / level + _back(matrix @ _scores(vector, some), some)


def start(problem: Problem, c: float, num_classes: int) -> list[Tensor]:
    """Weights to start from: of a fit to an eighth of the rows, which started in the same way; 0 for few rows."""
    count, dims = problem.features.shape
    if count < SUBSET * FEWEST:
        return [
            torch.zeros(dims + 1, dtype=torch.float64, device=problem.features.device)
        ] * num_classes
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))[: count // SUBSET].to(
        problem.features.device
    )
    part = Problem.of(problem.features[order], problem.labels[order], problem.features.device)
    weights = start(part, SUBSET * c, num_classes)  # so that the data term weighs the same
    return [found for found, _, _ in part.solve_all(SUBSET * c, weights, START_GAP)]


def _hessian(c: float, rows: Tensor, slack: Tensor) -> Callable[[Tensor], Tensor]:
    """Multiplies by I + 2 C X'X, X the rows with slack."""
    curved = (slack > 0).float()  # all of them, but where all rows are taken
    return lambda vector: vector + 2 * c * _back(curved * _scores(vector, rows), rows)


def _conjugate_gradients(
    multiply: Callable[[Tensor], Tensor], target: Tensor, precondition: Callable[[Tensor], Tensor]
) -> Tensor:
    """Solve A x = target to 0.3 of the target, in the preconditioner's norm (scipy's `cg` knows no GPU)."""
    solution, residual = torch.zeros_like(target), target
    move = steepest = precondition(residual)
    size = first = residual.dot(steepest)
    for _ in range(MAX_PRODUCTS):
        product = multiply(move)
        length = size / move.dot(product)
        solution, residual = solution + length * move, residual - length * product
        steepest = precondition(residual)
        before, size = size, residual.dot(steepest)
        if size <= FORCING**2 * first:
            break
        move = steepest + size / before * move
    return solution


def _line_search(
    c: float, weights: Tensor, margin: Tensor, direction: Tensor, change: Tensor
) -> float:
    """How far to go: along a line the objective is quadratic in pieces, so that Newton's method is there after a few steps."""
    square, slope = direction.dot(direction).item(), weights.dot(direction).item()
    step = 0.0
    for _ in range(5):
        slack = (margin - step * change).clamp_(min=0)
        inside = change * (slack > 0)
        first = slope + step * square - 2 * c * (slack * inside).sum(dtype=torch.float64).item()
        step -= first / (square + 2 * c * inside.square().sum(dtype=torch.float64).item())
    return step


def _scores(weights: Tensor, rows: Tensor) -> Tensor:
    weights = weights.float()
    return rows @ weights[:-1] + weights[-1]


def _back(residual: Tensor, rows: Tensor) -> Tensor:
    return torch.cat([residual @ rows, residual.sum(0, keepdim=True)]).double()


def _inverse(a: float, rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Multiplies by the inverse of I + a X'X, X the rows with a 1 for the intercept."""
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    hessian = (rows.T @ rows).double().mul_(a)
    hessian.diagonal().add_(1)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if failed or not hessian.isfinite().all():
        raise DataError(TOO_LARGE)
    return lambda vector: torch.cholesky_solve(vector[:, None], factor)[:, 0]


def _spikes(gram: Tensor, a: float, dims: int, *, complete: bool) -> tuple[Tensor, float]:
    """A matrix B and a level t such that 1 / t + A' B A is about the inverse of I + a A'A, where `gram` is a A A'.

    Where the rows are `complete`, all that there are, it is that inverse. Few rows of many features
    show the large eigenvalues, each of them too large by what noise adds, and none of the small
    ones. So those that stand out of the ones below them are kept, less the noise; for all other
    directions there is one level, of the same trace. (With the plain inverse, directions that the
    rows do not show would count as flat, and a fit took ten times as long.)
    """
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    below = values.flip(0).cumsum(0).flip(0)  # the sum from each on
    count = len(values)
    # One far below the 1 that is added to all changes nothing, and may be round-off.
    stands_out = (
        complete | (values * torch.arange(count, 0, -1, device=values.device) > SPIKE * below)
    ) & (values > 0.1)
    kept = int(stands_out.nonzero().max()) + 1 if stands_out.any() else 0
    noise = below[kept].item() if kept < count and not complete else 0.0
    level = 1 + noise / max(dims - kept, 1)
    cleaned = level + (values[:kept] - noise / max(count - kept, 1)).clamp(min=0)
    basis = vectors[:, :kept] * (a / values[:kept]).sqrt()
    return ((basis * (1 / cleaned - 1 / level)) @ basis.T).float(), level

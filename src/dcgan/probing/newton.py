"""Newton's method for L2-SVMs, two classes at a time.

Only rows inside the margin have a curvature, often one in ten. They are copied together, and
conjugate gradients solve each step's linear system on them, at the speed at which memory is read;
an exact line search follows.

Source: Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large Scale
Linear SVMs", 2005. The preconditioner and the start from an eighth of the rows are ours.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan.data import Labels
from dcgan.errors import DataError

MAX_ITERATIONS = 100  # of Newton's method, for one class and one C
FORCING = 0.3  # the residual of a linear system is reduced to this share of its right-hand side
MAX_PRODUCTS = 100  # of conjugate gradients, for one linear system
# Classes that are solved side by side: one alone leaves half of a processor's memory bandwidth
# unused.
AT_ONCE = 2
COPIED = 3  # rows inside the margin are copied together if they are at most 1 / COPIED of all rows
SAMPLED = 512  # rows inside the margin from which the curvature is estimated
EXACT = 1024  # features up to which the Hessian itself is factored instead
SPIKE = 4  # an eigenvalue stands out if it is more than SPIKE times the mean of itself and the rest
SUBSET = 8  # a fit starts from a fit to 1 / SUBSET of the rows
FEWEST = 500  # rows of the smallest such fit
START_GAP = 0.1  # duality gap at which such a fit ends, as a share of the objective
NEGLIGIBLE = 0.1  # eigenvalues up to this are dropped: they change little beside the 1 of H
TOO_LARGE = "train: features are too large to square: must be below 1e15; run train with a lower lr"

Multiply = Callable[[Tensor], Tensor]  # multiplies a vector by a matrix


@dataclass(eq=False)
class Problem:
    """The rows of a fit.

    A vector of weights has D + 1 values, float64, the last of which is the intercept.

    Attributes:
        features: float32, N x D.
        labels: N.
        buffers: float32, N / 3 x D, into which the rows inside the margin are copied: one for each
            class that is solved at the same time.
    """

    features: Tensor
    labels: Tensor
    buffers: "SimpleQueue[Tensor]"

    @classmethod
    def of(cls, features: npt.NDArray[np.float32] | Tensor, labels: Labels | Tensor) -> "Problem":
        """The problem of features N x D and labels N, with new buffers."""
        if isinstance(features, np.ndarray):
            features = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        labels = torch.as_tensor(np.array(labels))
        buffers: SimpleQueue[Tensor] = SimpleQueue()
        for _ in range(AT_ONCE):
            buffers.put(features.new_empty(len(features) // COPIED, features.shape[1]))
        return cls(features, labels, buffers)

    def solve_all(
        self, c: float, weights: Sequence[Tensor], gap: float
    ) -> list[tuple[Tensor, float, float]]:
        """`solve` each class from its weights: two at a time, each with half of torch's threads."""
        threads = torch.get_num_threads()
        at_once = min(AT_ONCE, threads)

        def solve(label: int) -> tuple[Tensor, float, float]:
            buffer = self.buffers.get()
            try:
                return self.solve(label, c, weights[label], gap, buffer)
            finally:
                self.buffers.put(buffer)

        try:
            with ThreadPoolExecutor(
                at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,)
            ) as pool:
                return list(pool.map(solve, range(len(weights))))
        finally:
            torch.set_num_threads(threads)

    def solve(
        self, label: int, c: float, weights: Tensor, gap: float, buffer: Tensor
    ) -> tuple[Tensor, float, float]:
        """Fit one class against the rest.

        Args:
            label: the class.
            c: strength of the data term.
            weights: where the fit starts.
            gap: duality gap at which it ends, as a share of the objective.
            buffer: one of `buffers`.

        Returns:
            The weights, their objective, and a bound on its excess over the smallest one.
        """
        signs = torch.where(self.labels == label, 1.0, -1.0)
        scores = _scores(weights, self.features)
        num_preconditioned = 0  # rows inside the margin when the preconditioner was made
        for iteration in range(MAX_ITERATIONS + 1):
            slack = (1 - signs * scores).clamp_(min=0)
            objective = (
                weights.square().sum().item() / 2
                + c * slack.square().sum(dtype=torch.float64).item()
            )
            rows, inside = self._inside(slack, buffer)
            gradient = weights - 2 * c * _back((signs * slack)[inside], rows)
            bound = gradient.square().sum().item() / 2
            if bound <= gap * objective or iteration == MAX_ITERATIONS:
                break
            if not 0.8 * num_preconditioned < len(rows) < 1.25 * num_preconditioned:
                num_preconditioned, precondition = len(rows), self._preconditioner(c, slack)
            hessian = _hessian(c, rows, slack[inside])
            direction = conjugate_gradients(hessian, -gradient, precondition)
            change = _scores(direction, self.features)
            length = _line_search(c, weights, 1 - signs * scores, direction, signs * change)
            weights = weights + length * direction
            scores += length * change
        return weights, objective, bound

    def _inside(self, slack: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor | slice]:
        """The rows inside the margin and their positions; all rows if the copy would be large."""
        positions = slack.nonzero()[:, 0]
        if len(positions) > len(buffer):
            return self.features, slice(None)
        copied = buffer[: len(positions)]
        return torch.index_select(self.features, 0, positions, out=copied), positions

    def _preconditioner(self, c: float, slack: Tensor) -> Multiply:
        """Multiplies by the inverse of the Hessian, or by an estimate of it if D is large."""
        positions = slack.nonzero()[:, 0]
        if self.features.shape[1] <= EXACT:
            return _inverse(2 * c, self.features[positions])
        # Drawn, not every n-th: labels may come in turns.
        rows = self.features[positions[_draw(len(positions), SAMPLED)]]
        # Each drawn row stands for several.
        scale = 2 * c * len(positions) / max(len(rows), 1)
        gram = (rows @ rows.T + 1).double().mul_(scale)  # 1 for the intercept
        if not gram.isfinite().all():
            raise DataError(TOO_LARGE)
        matrix, level = spiked_inverse(
            gram, scale, self.features.shape[1] + 1, complete=len(rows) == len(positions)
        )
        return lambda vector: vector / level + _back(matrix @ _scores(vector, rows), rows)


def start(problem: Problem, c: float, num_classes: int) -> list[Tensor]:
    """Weights for each class to start from.

    They are those of a fit to an eighth of the rows, which starts in the same way; or 0 if an
    eighth is fewer than 500 rows.
    """
    num_rows, dims = problem.features.shape
    if num_rows < SUBSET * FEWEST:
        return [torch.zeros(dims + 1, dtype=torch.float64)] * num_classes
    drawn = _draw(num_rows, num_rows // SUBSET)
    part = Problem.of(problem.features[drawn], problem.labels[drawn])
    # With SUBSET times C the data term of an eighth of the rows weighs the same.
    weights = start(part, SUBSET * c, num_classes)
    return [fitted for fitted, _, _ in part.solve_all(SUBSET * c, weights, START_GAP)]


def spiked_inverse(
    gram: Tensor, scale: float, dims: int, *, complete: bool
) -> tuple[Tensor, float]:
    """Estimate the inverse of H = I + a A'A, where A holds rows drawn from many.

    The eigenvalues v_1 >= ... >= v_n of a A A' and its eigenvectors u_i give directions in the
    space of features, e_i = sqrt(a / v_i) A' u_i, of length 1. The estimate is

        1/H = I / t + sum over i <= k of (1 / (t + s_i) - 1 / t) e_i e_i'

    If A holds all the rows (`complete`), it is exact with k = n, s_i = v_i and t = 1. If not, the
    rows are taken for draws of the spiked covariance model: k directions stand out, and in all
    others there is noise of one size. Few rows then show the large eigenvalues only, each of them
    too large by what the noise adds. So

        k = the last i with v_i > 4 mean(v_i, ..., v_n)
        noise = v_(k+1) + ... + v_n
        s_i = v_i - noise / (n - k), but not below 0
        t = 1 + noise / (dims - k), which keeps the trace

    With the inverse of the drawn rows alone, directions that they do not show would count as flat:
    a fit took ten times as long.

    Source of the model: Johnstone, "On the Distribution of the Largest Eigenvalue in Principal
    Components Analysis", 2001.

    Args:
        gram: a A A', n x n.
        scale: a.
        dims: values in a row of A.
        complete: whether A holds all the rows.

    Returns:
        A matrix B, float32 n x n, and t, so that the estimate is I / t + A' B A.
    """
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)  # the largest first
    num = len(values)
    sum_of_the_rest = values.flip(0).cumsum(0).flip(0)  # at i: v_i + ... + v_n
    mean_of_the_rest = sum_of_the_rest / torch.arange(num, 0, -1)
    spikes = values > NEGLIGIBLE
    if not complete:
        spikes &= values > SPIKE * mean_of_the_rest
    kept = int(spikes.nonzero().max()) + 1 if spikes.any() else 0
    noise = sum_of_the_rest[kept].item() if kept < num and not complete else 0.0
    level = 1 + noise / max(dims - kept, 1)
    eigenvalues = level + (values[:kept] - noise / max(num - kept, 1)).clamp(min=0)
    directions = vectors[:, :kept] * (scale / values[:kept]).sqrt()
    return ((directions * (1 / eigenvalues - 1 / level)) @ directions.T).float(), level


def conjugate_gradients(
    multiply: Multiply, target: Tensor, precondition: Multiply, forcing: float = FORCING
) -> Tensor:
    """Solve A x = target; scipy's `cg` takes arrays, not tensors.

    Args:
        multiply: by A, symmetric and positive definite.
        target: a vector.
        precondition: multiply by an approximate inverse of A.
        forcing: share of the target, in the preconditioner's norm, that the residual may have.
    """
    solution, residual = torch.zeros_like(target), target
    move = steepest = precondition(residual)
    size = first = residual.dot(steepest)
    for _ in range(MAX_PRODUCTS):
        product = multiply(move)
        length = size / move.dot(product)
        solution, residual = solution + length * move, residual - length * product
        steepest = precondition(residual)
        before, size = size, residual.dot(steepest)
        if size <= forcing**2 * first:
            break
        move = steepest + size / before * move
    return solution


def _draw(num: int, count: int) -> Tensor:
    """`count` of `num` positions at random, the same ones each time."""
    return torch.randperm(num, generator=torch.Generator().manual_seed(0))[:count]


def _hessian(c: float, rows: Tensor, slack: Tensor) -> Multiply:
    """Multiplies by I + 2 C X'X, X the rows with slack."""
    curved = (slack > 0).float()  # 1 for each row, unless `rows` are all rows
    return lambda vector: vector + 2 * c * _back(curved * _scores(vector, rows), rows)


def _line_search(
    c: float, weights: Tensor, margin: Tensor, direction: Tensor, change: Tensor
) -> float:
    """How far to go along `direction`, as a multiple of it.

    Along a line the objective is quadratic in pieces, so that Newton's method arrives after a few
    iterations.
    """
    square, slope = direction.dot(direction).item(), weights.dot(direction).item()
    length = 0.0
    for _ in range(5):
        slack = (margin - length * change).clamp_(min=0)
        inside = change * (slack > 0)
        first = slope + length * square - 2 * c * (slack * inside).sum(dtype=torch.float64).item()
        length -= first / (square + 2 * c * inside.square().sum(dtype=torch.float64).item())
    return length


def _scores(weights: Tensor, rows: Tensor) -> Tensor:
    """The rows, each with a 1 for the intercept, times the weights."""
    weights = weights.float()
    return rows @ weights[:-1] + weights[-1]


def _back(residual: Tensor, rows: Tensor) -> Tensor:
    """The transposed rows, each with a 1 for the intercept, times a residual."""
    return torch.cat([residual @ rows, residual.sum(0, keepdim=True)]).double()


def _inverse(scale: float, rows: Tensor) -> Multiply:
    """Multiplies by the inverse of I + a X'X, X the rows with a 1 for the intercept."""
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    hessian = (rows.T @ rows).double().mul_(scale)
    hessian.diagonal().add_(1)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if failed or not hessian.isfinite().all():
        raise DataError(TOO_LARGE)
    return lambda vector: torch.cholesky_solve(vector[:, None], factor)[:, 0]

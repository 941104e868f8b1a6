"""The processes of one training, and what they tell each other.

Each process has both networks and takes its rows of every batch. torch's DistributedDataParallel is
not used: its hooks do not run with `torch.autograd.grad`, so it would average nothing, in silence.
Instead each phase of a step averages one flat vector of gradients and loss, as the code of
StyleGAN3 does, and each step ends with one of batch norm's statistics. So all processes have equal
weights and statistics after every step.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dcgan.errors import EnvironmentProblem, UserError

T = TypeVar("T")


class Part(NamedTuple):
    """Which images of the batch of all processes some images are."""

    total: int
    rows: slice | Tensor


class Lost(EnvironmentProblem):
    """Another process of the training is gone."""


class Silent(UserError):
    """The first process has failed, and has said why."""


class Ranks:
    """This process among those of a training; alone, it has nothing to tell."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        """Make it known; `join` finds the others.

        Args:
            rank: number of this process, from 0.
            count: of all processes.
        """
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this process is the one that reads, writes, logs and prints."""
        return self.rank == 0

    def rows(self, num: int) -> slice:
        """Which rows of a batch of `num` are this process's; `num` divides by the count."""
        share = num // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def part(self, num: int, share: int, device: torch.device) -> Part:
        """Which images of all processes' `num` images of this one are.

        They are the process's `share` images of one batch, or of several one after the other.
        """
        if self.count == 1:
            return Part(num, slice(None))
        places = torch.arange(num * self.count, device=device)
        batches = places.view(num // share, self.count, share)
        return Part(num * self.count, batches[:, self.rank].reshape(-1))

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes: one flat vector, one reduction.

        A value that is not finite in one process is not finite in all of them afterwards, so they
        agree on it without a word more.
        """
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        _call(lambda: dist.all_reduce(flat))
        flat /= self.count
        parts = flat.split([tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def agree(self, *numbers: int) -> tuple[int, ...]:
        """The largest of each number over all processes.

        By itself and on the CPU, so that no GPU is waited for: all processes stop and save at the
        same step.
        """
        if self.count == 1:
            return numbers
        found = torch.tensor(numbers)
        _call(lambda: dist.all_reduce(found, dist.ReduceOp.MAX))
        return tuple(found.tolist())

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the first one's values."""
        if self.count > 1:
            for tensor in tensors:
                _call(functools.partial(dist.broadcast, tensor, 0))

    def from_first(self, work: Callable[[], T]) -> T:
        """Let the first process work, and give all of them what it returns.

        Raises:
            UserError: that of the first process; in the others one without words.
        """
        if self.count == 1:
            return work()
        told: list[tuple[T | None, int] | None] = [None]
        failure: UserError | None = None
        if self.first:
            try:
                told = [(work(), 0)]
            except UserError as error:
                failure, told = error, [(None, error.exit_code)]
        _call(lambda: dist.broadcast_object_list(told, 0, device=torch.device("cpu")))
        if failure is not None:
            raise failure
        assert told[0] is not None
        result, exit_code = told[0]
        if exit_code:
            silent = Silent("")
            silent.exit_code = exit_code
            raise silent
        return result  # type: ignore[return-value]  # None only where `work` returns None


ALONE = Ranks()


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, which has gradients of any order."""
    return _Total.apply(values)


class _Total(torch.autograd.Function):
    """Each process has a gradient for the sum; the sum of these is that for every summand."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        _call(lambda: dist.all_reduce(summed))
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0])


def _call(collective: Callable[[], object]) -> None:
    try:
        collective()
    except RuntimeError as error:
        raise Lost(
            "another process of the training has ended; its own line says why:"
            f" run the same command again to go on ({' '.join(str(error).split())[:100]})"
        ) from error

"""Every random number of the pipeline.

A draw depends on (seed, stream, step) and on nothing else, so no random state is ever saved
or restored: a run that is killed and started again draws what it would have drawn.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.func._random


def derive(seed: int, stream: str, step: int = 0) -> int:
    """32-bit seed for one purpose (`stream`) at one moment (`step`).

    32 bits because torch's CPU generators use no more.
    """
    # The 0 at the end stands for the one process; without it every number would be another.
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}/0".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


class Draws:
    """The random numbers of one purpose at one moment, made on the device that needs them.

    They are the same on every device, so a training on a GPU sees the latent vectors of a training
    on the CPU; nothing waits for a copy. A counter-based generator makes them: Philox 4x32-10
    (Salmon et al. 2011), which torch has as `torch.func._random`.
    """

    def __init__(
        self, seed: int, stream: str, step: int, device: str | torch.device = "cpu"
    ) -> None:
        """Start the draws of `stream` at `step`."""
        self._device, self._stream = torch.device(device), stream
        on = self._device if self._device.type in ("cpu", "cuda") else "cpu"  # where Philox is
        self._key = torch.zeros(2, dtype=torch.uint64, device=on)
        self.restart(seed, step)

    def restart(self, seed: int, step: int) -> None:
        """Go on with the draws of another step.

        The key stays where it is: a recorded step that is replayed reads it from there.
        """
        # Filled, because a tensor made of a list would be a copy that a GPU waits for.
        self._key[0].fill_(derive(seed, self._stream, step))
        self._drawn = 0

    def normal(self, *shape: int) -> torch.Tensor:
        """From N(0, 1), float32."""
        return torch.func._random.normal(self._next(), shape).to(self._device)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """From [low, high), float32."""
        drawn = torch.func._random.uniform(self._next(), shape, low=low, high=high)
        return drawn.to(self._device)

    def integers(self, *shape: int, low: int, high: int) -> torch.Tensor:
        """From low, low + 1, .. high, both of them included; int64."""
        drawn = self.uniform(*shape, low=low, high=high + 1).floor_().to(torch.int64)
        return drawn.clamp_(low, high)  # rounding may give high + 1

    def _next(self) -> torch.Tensor:
        self._drawn += 1
        return torch.func._random.fold_in(self._key, self._drawn)


class Streams:
    """The draws of a training's steps: for each purpose `Draws`, and torch's own generators.

    Each is made when it is first drawn from, and serves all later steps.
    """

    def __init__(self, device: torch.device) -> None:
        """None is there at first."""
        self._device, self._seed, self._step = device, 0, 0
        self._draws: dict[str, Draws] = {}
        self.generators: dict[str, torch.Generator] = {}

    def begin(self, seed: int, step: int) -> None:
        """Go to a step."""
        self._seed, self._step = seed, step
        for draws in self._draws.values():
            draws.restart(seed, step)
        for stream, made in self.generators.items():
            made.manual_seed(derive(seed, stream, step))

    def draws(self, stream: str) -> Draws:
        """What one purpose draws from, wherever it stands."""
        if stream not in self._draws:
            self._draws[stream] = Draws(self._seed, stream, self._step, self._device)
        return self._draws[stream]

    def generator(self, stream: str) -> torch.Generator:
        """A generator of torch's own for one purpose."""
        if stream not in self.generators:
            self.generators[stream] = generator(self._seed, stream, self._step, self._device)
        return self.generators[stream]


def generator(
    seed: int, stream: str, step: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A fresh generator for one purpose at one moment."""
    return torch.Generator(device).manual_seed(derive(seed, stream, step))


def epoch_rows(
    positions: npt.NDArray[np.int64], num_images: int, seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Which images stand at some positions of the order in which `epoch` visits them.

    Nobody holds the whole order, which of ten million images would be 80 MB: a Feistel network
    computes each row from its position. It is a permutation of a power of four, so what falls
    outside the images is sent through again until it falls inside (cycle walking; Black and
    Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).

    Args:
        positions: of 0 .. num_images - 1.
        num_images: of all.
        seed: of the training.
        epoch: from 0; each has an order of its own.

    Returns:
        int64; all positions together give each image once.
    """
    half = np.uint64(max(1, ((num_images - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    digest = hashlib.blake2b(f"{seed}/order/{epoch}".encode()).digest()
    keys = np.frombuffer(digest, "<u8")  # 8 rounds

    def permuted(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = numbers >> half, numbers & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & mask)
        return left << half | right

    rows = permuted(positions.astype(np.uint64))
    while (outside := rows >= num_images).any():
        rows[outside] = permuted(rows[outside])
    return rows.astype(np.int64)


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of 64 bits: each bit of the result depends on all of the number's."""
    for factor in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93):
        numbers = numbers * np.uint64(factor)  # modulo 2^64
        numbers = numbers ^ numbers >> np.uint64(32)
    return numbers


def choose(num: int, count: int, seed: int, stream: str, step: int = 0) -> torch.Tensor:
    """Draw `count` different numbers of 0 .. num - 1, all of them if `num` is smaller.

    Returns:
        int64, in random order.
    """
    return torch.randperm(num, generator=generator(seed, stream, step))[:count]


def shares(counts: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """How many of `count` each group gets, in proportion to `counts`.

    Where a share is no whole number it is rounded down; what is then left goes to the groups with
    the largest remainders, one each, the first of equals.
    """
    whole, remainders = np.divmod(count * counts, counts.sum())
    whole[np.argsort(-remainders, kind="stable")[: count - whole.sum()]] += 1
    return whole


def choose_of_each(
    labels: npt.NDArray[Any], count: int, seed: int, stream: str
) -> npt.NDArray[np.int64]:
    """Draw `count` positions, from each class in its share; all of them where there are no more.

    Use it instead of `[:count]`: prepared images may be sorted by class.

    Args:
        labels: N integers.
        count: number of positions to draw.
        seed: of the draw.
        stream: its purpose.

    Returns:
        int64, in rising order.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    drawn = [
        np.flatnonzero(labels == label)[
            # As an array: a tensor of one number would be an index, and give a number.
            choose(int(held), int(share), seed, stream, int(label)).numpy()
        ]
        for label, held, share in zip(classes, counts, shares(counts, count), strict=True)
    ]
    return np.sort(np.concatenate(drawn))

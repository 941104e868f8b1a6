"""Steps recorded once and replayed, as CUDA graphs: a GPU then waits for no Python.

A step's operations depend on its `kind` alone. What else differs from step to step are values:
images, keys of random numbers, learning rates. They lie in tensors that stay where they are, so a
recorded step reads the new ones. Off by default: it was never run on a GPU. On the CPU a test
replays recorded operations in its place, and compares every bit.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dcgan.training.step import Batch, Found

# Steps of a kind that run as they are before it is recorded: at first cuDNN tries its algorithms,
# and random streams are made.
WARM_UPS = 3
Record = Callable[
    ["Callable[[], Found]", Iterable[torch.Generator]], "tuple[Found, Callable[[], None]]"
]


@dataclasses.dataclass
class Recording:
    """One kind of step."""

    real: Tensor  # where a replay finds its images
    found: Found  # where it leaves what it found
    replay: Callable[[], None]


class Recordings:
    """The recorded steps of one training, by kind."""

    def __init__(self, record: Record | None = None) -> None:
        """Start without any.

        Args:
            record: runs a function and returns its result, which stays where it is, and a replay;
                None: a CUDA graph.
        """
        self._record = record or cuda_graph
        self._recordings: dict[Hashable, Recording] = {}
        self._seen: Counter[Hashable] = Counter()

    def update(self, batch: Batch) -> Found:
        """Update D, G or both, as `batch.update` does."""
        kind = batch.kind()
        self._seen[kind] += 1
        if self._seen[kind] <= WARM_UPS:
            return batch.update()
        if kind not in self._recordings:
            batch.real = batch.real.clone()
            found, replay = self._record(batch.update, batch.state.streams.generators.values())
            self._recordings[kind] = Recording(batch.real, found, replay)
        recording = self._recordings[kind]
        recording.real.copy_(batch.real)
        recording.replay()
        return recording.found


def cuda_graph(
    work: Callable[[], Found], generators: Iterable[torch.Generator]
) -> tuple[Found, Callable[[], None]]:
    """Record what `work` asks of the GPU, without doing it.

    Each graph has memory of its own: the results of one must survive the replay of another.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        found = work()
    return found, graph.replay

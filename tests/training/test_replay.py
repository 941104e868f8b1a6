"""A recorded step that is replayed gives the bits of a step that runs.

CUDA graphs need a GPU. Here `Tape` stands for one: it notes every operation with the tensors
themselves, and a replay does the same operations on the same tensors, without any Python of ours.
What a step takes from Python, and not from a tensor, would be that of the recorded step.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from dcgan import data
from dcgan.training import loop, saving, step
from dcgan.training.replay import WARM_UPS, Recordings
from tests.support.small_training import small
from tests.support.steps import UPDATES, build, fingerprint, same


class Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        options = options or {}
        found = operation(*arguments, **options)
        self.operations.append((operation, arguments, options, found))
        return found

    def replay(self):
        with torch.no_grad():
            for operation, arguments, options, found in self.operations:
                if any(
                    output.alias_info is not None and not output.alias_info.is_write
                    for output in operation._schema.returns
                ):
                    continue  # a view: it still shows the same memory
                again = operation(*arguments, **options)
                for old, new in zip(tree_flatten(found)[0], tree_flatten(again)[0], strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def tape(work, generators):
    """Record, and undo what recording has changed: a CUDA graph does nothing then."""
    held = work.__self__.state
    tensors = [
        *saving.tensors(held).values(),
        held.bad,
        *held.g.float_buffers,
        *held.d.float_buffers,
    ]
    before = [tensor.clone() for tensor in tensors]
    seeds = [generator.get_state() for generator in generators]
    recorder = Tape()
    with recorder:
        found = work()
    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
    for generator, seed in zip(generators, seeds, strict=True):
        generator.set_state(seed)
    return found, recorder.replay


VARIANTS = {
    "augmented": {
        "training__diff_augment": ["color", "translation", "cutout"],
        "training__r1_gamma": 1.0, "training__r1_every": 2, "training__ema_half_life": 8,
        "discriminator__spectral_norm": True,
    },
    "keras": {"training__optimizer": "adam_keras", "training__linear_decay_from": 0.3},
    "rmsprop": {"training__optimizer": "rmsprop_keras", "discriminator__norm": "batch"},
}  # fmt: skip


def trained(params, images, recordings):
    state, rows = build(params), []
    for i in range(14):
        loop.set_learning_rates(state, 20, lr=params.lr, training=params.training)
        batch = data.to_float(images[i : i + 8])
        outcome = step.train_step(
            state, batch, seed=params.seed, training=params.training, precision="float32",
            measure=i % 3 == 0, recordings=recordings,
        )  # fmt: skip
        rows.append(outcome.read())
    return fingerprint(state), rows


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("update", UPDATES)
def test_replayed_steps_have_the_bits_of_steps_that_run(update, variant, images):
    params = small(training__update=update, **VARIANTS[variant])
    replayed = []

    def record(work, generators):
        found, replay = tape(work, generators)
        return found, lambda: replayed.append(1) or replay()

    plain = trained(params, images, None)
    recorded = trained(params, images, Recordings(record))
    assert len(replayed) >= 14 - WARM_UPS * 4
    assert recorded[1] == plain[1]
    assert same(recorded[0], plain[0])


def test_a_value_from_python_would_be_noticed(images):
    """The test of the test: a rate that is no tensor stays that of the recorded step."""
    weight = torch.ones(3)
    rate = 1.0

    class Work:
        state = build(small())

        def __call__(self):
            weight.mul_(rate)

    work = Work()
    recorder = Tape()
    with recorder:
        work()
    rate = 2.0
    recorder.replay()
    assert weight.tolist() == [1, 1, 1]
    assert tree_map(lambda each: each, recorder.operations)

"""Two processes over gloo: they train as one does."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan import data
from dcgan.errors import Diverged, Stopped
from dcgan.training import loop, step
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.ranks import ALONE, Ranks
from tests.support import small_training, together
from tests.support.small_training import small, training_arguments
from tests.support.steps import CPU, UPDATES, fingerprint, same

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
HERE = "tests.training.test_ranks"


def gradients(ranks: Ranks, changes: dict) -> dict[str, torch.Tensor]:
    """Those of D and of G in the first step of each update."""
    found: dict[str, torch.Tensor] = {}
    for update in UPDATES:
        params = small(**{**changes, "training__update": update})
        state = loop.build(
            1, **{key: value for key, value in training_arguments(params).items()
                  if key not in ("batch_size", "epochs")}, device=CPU, ranks=ranks,
        )  # fmt: skip
        real = data.to_float(IMAGES[:8])[ranks.rows(8)]
        batch = step.Batch(
            state, real, params.seed, params.training, "float32", measure=True, ranks=ranks
        )
        average = batch.gradients

        def noted(loss, side, update=update, average=average, **options):
            values, norm = average(loss, side, **options)
            found.update(
                {f"{update} {side.name} {i}": value.clone() for i, value in enumerate(values)}
            )
            return values, norm

        batch.gradients = noted  # type: ignore[method-assign]
        # No weight moves, so that G's gradient is at D's first weights too.
        batch.apply = lambda side, gradients: None  # type: ignore[method-assign]
        batch.update()
    return found


WHOLE = {"discriminator__dropout": [0.0, 0.0], "training__diff_augment": ["color", "translation"]}
CASES = {
    "without batch norm": ({"generator__norm": "none", "generator__start_norm": "none"}, 1e-6),
    "synchronised batch norm": (
        {
            "discriminator__norm": "batch",
            "training__sync_batch_norm": True,
            "training__r1_gamma": 1.0,
        },
        1e-5,
    ),
}


def all_gradients(ranks: Ranks) -> dict[str, torch.Tensor]:
    return {
        f"{case} {name}": value
        for case, (changes, _) in CASES.items()
        for name, value in gradients(ranks, WHOLE | changes).items()
    }


def test_gradients_are_those_of_one_process_with_the_whole_batch(tmp_path):
    expected = all_gradients(ALONE)
    for found in together.run(f"{HERE}:all_gradients", tmp_path):
        assert found.keys() == expected.keys()
        for name in expected:
            tolerance = next(value for case, (_, value) in CASES.items() if name.startswith(case))
            torch.testing.assert_close(
                found[name], expected[name], rtol=tolerance * 100, atol=tolerance, msg=name
            )


def steps(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Everything that three steps change, after each."""
    params = small(**MIXED)
    state = small_training.build(params, 1, CPU)
    found = {}
    for i in range(3):
        step.train_step(
            state, data.to_float(IMAGES[8 * i : 8 * i + 8])[ranks.rows(8)], seed=params.seed,
            training=params.training, precision="float32", measure=i == 1, ranks=ranks,
        ).read()  # fmt: skip
        found |= {f"step {i} {name}": value for name, value in fingerprint(state).items()}
    return found


MIXED = {
    "discriminator__norm": "batch", "training__r1_gamma": 1.0, "training__r1_every": 1,
    "training__diff_augment": ["cutout"], "training__ema_half_life": 8,
    "discriminator__spectral_norm": True, "training__update": "concatenated",
}  # fmt: skip


@pytest.mark.holds("R-30")
def test_after_every_step_all_processes_have_the_same_weights_and_statistics(tmp_path):
    one, two = together.run(f"{HERE}:steps", tmp_path)
    assert same(one, two)
    # And not because nothing was different: each has its own images and masks.
    assert not same(one, steps(ALONE))


def train(ranks: Ranks, folder: Path, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """A whole training, in which the last process alone gets a signal; the state where it ends."""
    calls = itertools.count()
    last = ranks.rank == ranks.count - 1
    params = small(batch_size=6, training__drop_last=False)

    def run(checkpoints: Checkpoints | None) -> dict[str, torch.Tensor]:
        try:
            state = loop.train(
                IMAGES, checkpoints, **training_arguments(params), device=CPU,
                precision="float32", ranks=ranks,
                stop_signal=lambda: 15 if last and next(calls) == stop_at else 0,
            )  # fmt: skip
        except Stopped as stopped:
            assert stopped.exit_code == 143
            return {"stopped": torch.tensor(int(str(stopped).split()[3]))}
        # The first process alone brings the average's statistics up to date, when it saves.
        return {
            name: value
            for name, value in fingerprint(state).items()
            if ranks.first or not name.startswith("ema")
        }

    if not ranks.first:
        return run(None)
    with Checkpoints(folder, "t") as checkpoints:
        return run(checkpoints)


def broken(ranks: Ranks) -> dict[str, torch.Tensor]:
    """A step in which one process alone has an image that is not finite."""
    params = small()
    state = small_training.build(params, 1, CPU)
    before = [parameter.clone() for parameter in state.g.parameters + state.d.parameters]
    real = data.to_float(IMAGES[:8])[ranks.rows(8)]
    if not ranks.first:
        real[0] = math.nan
    outcome = step.train_step(
        state, real, seed=1, training=params.training, precision="float32", measure=False,
        ranks=ranks,
    )  # fmt: skip
    with pytest.raises(Diverged, match="step 1: the training is not finite"):
        outcome.read()
    after = state.g.parameters + state.d.parameters
    moved = sum(not torch.equal(one, two) for one, two in zip(before, after, strict=True))
    return {"moved": torch.tensor(moved)}


def trainings(ranks: Ranks, folder: str) -> dict[str, torch.Tensor]:
    """One that is never stopped; one that is, and goes on; one that is."""
    there = Path(folder)
    found = {
        "whole": train(ranks, there / "a"),
        "first": train(ranks, there / "b", 4),
        "second": train(ranks, there / "b"),
        "stopped": train(ranks, there / "c", 4),
        "broken": broken(ranks),
    }
    return {f"{name} {key}": value for name in found for key, value in found[name].items()}


def of(name: str, found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(f"{name} "): value
        for key, value in found.items()
        if key.startswith(f"{name} ")
    }


@pytest.mark.holds("R-29", "R-31", "R-33")
def test_a_signal_to_one_stops_all_and_they_go_on_to_the_same_bits(tmp_path, caplog):
    for found in together.run(f"{HERE}:trainings", tmp_path, str(tmp_path)):
        whole = of("whole", found)
        assert whole["step"] == 14  # 40 images: six batches of six and one of four, twice
        assert of("first", found) == {"stopped": 5}
        assert same(of("second", found), whole)
        # What is not finite in one process stops all of them, and moves no weight.
        assert of("broken", found) == {"moved": 0}
    # A checkpoint of two processes serves one, which says so.
    assert train(ALONE, tmp_path / "c")["step"] == 14
    assert "processes 2, now 1" in caplog.text


def test_rows_and_parts_of_two_processes_are_all_there_once():
    for num, share in ((8, 4), (16, 4)):
        parts = [Ranks(rank, 2).part(num // 2, share, CPU) for rank in (0, 1)]
        assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(num))
        assert {part.total for part in parts} == {num}
    # Two batches one after the other: of each, the same rows.
    assert Ranks(1, 2).part(4, 2, CPU).rows.tolist() == [2, 3, 6, 7]
    assert [Ranks(rank, 2).rows(8) for rank in (0, 1)] == [slice(0, 4), slice(4, 8)]
    assert ALONE.agree(3, False) == (3, False)

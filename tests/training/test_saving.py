"""A state written and read again; test_loop.py kills and resumes whole trainings."""

import torch

from dcgan.training import saving
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.ranks import ALONE
from dcgan.training.step import FIGURES
from tests.support.small_training import small
from tests.support.steps import build, fingerprint, same, train_step


def test_a_state_read_again_is_the_same_and_its_next_step_too(tmp_path):
    params = small()
    real = torch.rand(params.batch_size, 1, 16, 16) * 2 - 1
    state, other = build(params), build(small(seed=77))
    for step in range(2):
        figures = train_step(state, params, real, measure=True)
        state.history.append({"epoch": 1, "step": step + 1, **figures})
    with Checkpoints(tmp_path, "t") as checkpoints:
        saving.save(state, checkpoints, ALONE)
        checkpoints.wait()
        assert not same(fingerprint(state), fingerprint(other))
        assert saving.restore(other, checkpoints, ALONE)
    assert same(fingerprint(state), fingerprint(other))
    # history.csv is continued row by row, so the columns keep their order.
    assert [list(row) for row in other.history] == [["epoch", "step", *FIGURES]] * 2
    for each in (state, other):
        train_step(each, params, real)
    assert same(fingerprint(state), fingerprint(other))


def test_in_a_new_folder_nothing_is_restored(tmp_path):
    state = build(small())
    before = fingerprint(state)
    with Checkpoints(tmp_path, "t") as checkpoints:
        assert not saving.restore(state, checkpoints, ALONE)
    assert same(before, fingerprint(state))

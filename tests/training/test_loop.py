import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dcgan.errors import ConfigError, DataError, Diverged, NoCheckpoint, Stopped
from dcgan.networks.weights import plain_weights
from dcgan.training import loop, saving, step
from dcgan.training.checkpoint import Checkpoints
from tests.support.small_training import small, training_arguments
from tests.support.steps import CPU, UPDATES, build, fingerprint, same


def run(params, images, folder, **options):
    with Checkpoints(folder, "t") as checkpoints:
        return loop.train(
            images,
            checkpoints,
            **training_arguments(params),
            device=CPU,
            precision="float32",
            **options,
        )


def train_and_export(params, images, folder):
    """A training whose folder has grids and exports too."""
    training = params.training

    def on_epoch(epoch, state):
        loop.write_epoch(
            epoch, state, folder / "t", seed=params.seed, training=training, kept=epoch > 0
        )

    return run(params, images, folder, on_epoch=on_epoch)


VARIANTS = [
    {"training__update": "simultaneous"},
    {
        "training__update": "alternating",
        "training__loss": "hinge",
        "discriminator__spectral_norm": True,
    },
    {"training__update": "concatenated", "training__optimizer": "rmsprop_keras"},
    {
        "training__update": "alternating",
        "discriminator__norm": "batch",
        "training__drop_last": False,
    },
    {
        "training__update": "one_network",
        "training__optimizer": "adam_keras",
        "training__linear_decay_from": 0.3,
    },
    {
        "training__discriminator_steps": 2,
        "training__update": "concatenated",
        "training__loss": "least_squares",
    },
    {
        "training__diff_augment": ["color", "translation", "cutout"],
        "training__r1_gamma": 1.0,
        "training__r1_every": 3,
    },
]


@pytest.mark.holds("R-10", "R-20")
@pytest.mark.parametrize(
    "changes", VARIANTS, ids=lambda changes: "-".join(map(str, changes.values()))
)
def test_two_runs_are_bit_identical_and_so_is_one_that_stopped_at_every_second_step(
    changes, images, tmp_path
):
    params = small(**changes)
    whole = fingerprint(run(params, images, tmp_path / "a"))
    assert same(whole, fingerprint(run(params, images, tmp_path / "b")))
    for _ in range(20):
        calls = iter(range(100))
        try:
            state = run(
                params,
                images,
                tmp_path / "c",
                stop_signal=lambda calls=calls: 15 if next(calls) == 1 else 0,
            )
            break
        except Stopped as stopped:
            assert stopped.exit_code == 143
    assert same(whole, fingerprint(state))


def spoil(state, how):
    if how == "one weight by one ulp":
        weight = next(state.generator.parameters()).data.flatten()
        weight[0] = torch.nextafter(weight[0], torch.tensor(math.inf))
    elif how == "Adam's step count":
        next(iter(state.opt_d.state.values()))["step"] += 1
    elif how == "a moment":
        next(iter(state.opt_g.state.values()))["exp_avg"].mul_(1.0001)
    elif how == "the step":
        state.step += 1
    elif how == "a row of the history":
        state.history.pop()


@pytest.mark.holds("R-03", "R-04")
@pytest.mark.parametrize(
    "how",
    ["one weight by one ulp", "Adam's step count", "a moment", "the step", "a row of the history"],
)
def test_the_comparison_notices_a_spoilt_state(how, images, tmp_path):
    whole = fingerprint(run(small(), images, tmp_path / "a"))
    state = run(small(), images, tmp_path / "a")
    assert same(whole, fingerprint(state))
    spoil(state, how)
    assert not same(whole, fingerprint(state))


@pytest.mark.holds("R-09")
def test_more_epochs_extend_a_finished_training_to_the_same_bits(images, tmp_path):
    run(small(), images, tmp_path / "a")
    extended = run(small(epochs=4), images, tmp_path / "a")
    assert same(fingerprint(extended), fingerprint(run(small(epochs=4), images, tmp_path / "b")))


# Where a training is killed: the phase and the file, below its folder, or the step of the training.
# `begin`, `flush` and `rename` are the phases of files.replacing.
KILL_POINTS = {
    "the first grid, before its rename": ("rename", "samples/0000.png"),
    "the first checkpoint, before its JSON": ("begin", "state-000000000.json"),
    "a checkpoint, before its weights are flushed": ("flush", "state-000000003.safetensors"),
    "a checkpoint, before its weights are renamed": ("rename", "state-000000003.safetensors"),
    "a checkpoint, before its JSON": ("begin", "state-000000003.json"),
    "an export, before it is flushed": ("flush", "exports/epoch-0001/generator_ema.safetensors"),
    "an export, before its JSON": ("begin", "exports/epoch-0001/discriminator.json"),
    "an old checkpoint, before its JSON is deleted": ("unlink", "state-000000003.json"),
    "an old checkpoint, after its JSON is deleted": ("unlink", "state-000000003.safetensors"),
    "between D's and G's update": ("update of G", 3),
    "before a batch": ("batch", 6),
    "before an epoch's last batch": ("batch", 9),
}  # fmt: skip


def die_at(point: str, folder: Path) -> None:
    """Arrange that this process is killed at a point, after it has printed the point's name."""
    from dcgan import files

    at = KILL_POINTS[point]

    def reached(phase, where):
        if (phase, where) == at:
            print(point, flush=True)
            os.kill(os.getpid(), 9)

    def relative(path):
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else None

    apply, train_step, unlink = step.Batch.apply, loop.train_step, Path.unlink

    def applied(batch, side, gradients):
        if side is batch.state.g:
            reached("update of G", batch.state.step)
        apply(batch, side, gradients)

    def stepped(state, *args, **options):
        reached("batch", state.step)
        return train_step(state, *args, **options)

    def unlinked(path, **options):
        reached("unlink", relative(path))
        unlink(path, **options)

    files._reached = lambda phase, path: reached(phase, relative(path))
    step.Batch.apply, loop.train_step, Path.unlink = applied, stepped, unlinked


KILLED = """
import sys
sys.path[:0] = ["src", "."]
import numpy as np
import tests.training.test_loop as t
point, folder = sys.argv[1], t.Path(sys.argv[2])
t.torch.set_num_threads(1)
t.die_at(point, folder / "t")
images = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
t.train_and_export(t.small(), images, folder)
"""


@pytest.mark.holds("R-01", "R-18")
@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_killed_training_goes_on_to_the_same_bits_and_leaves_nothing_behind(
    point, images, tmp_path
):
    """SIGKILL at named points."""
    params = small()
    torch.set_num_threads(1)
    whole = fingerprint(train_and_export(params, images, tmp_path / "a"))
    died = subprocess.run(
        [sys.executable, "-c", KILLED, point, str(tmp_path / "b")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -9, died.stderr
    assert died.stdout == f"{point}\n"
    assert same(whole, fingerprint(train_and_export(params, images, tmp_path / "b")))
    names = [
        sorted(str(path.relative_to(tmp_path / f)) for path in (tmp_path / f).rglob("*"))
        for f in "ab"
    ]
    assert names[0] == names[1]
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and path.name != "holder":
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == other.read_bytes(), path


@pytest.mark.holds("R-15")
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(images, tmp_path, caplog):
    whole = fingerprint(run(small(), images, tmp_path / "a"))
    newest = max((tmp_path / "a" / "t").glob("state-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    assert same(whole, fingerprint(run(small(), images, tmp_path / "a")))
    assert "damaged" in caplog.text
    for path in (tmp_path / "a" / "t").glob("state-*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(NoCheckpoint, match="none of its 2 checkpoints is intact"):
        run(small(), images, tmp_path / "a")


@pytest.mark.holds("R-08", "R-17")
@pytest.mark.parametrize(
    "changes",
    [{"generator__channels": [8, 6]}, {"training__optimizer": "rmsprop_keras"},
     {"discriminator__norm": "batch"}],
    ids=["other shapes", "missing moments", "missing statistics"],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_not_continued(changes, images, tmp_path, caplog):
    run(small(), images, tmp_path)
    with pytest.raises(NoCheckpoint) as caught:
        run(small(**changes), images, tmp_path)
    assert caught.value.exit_code == 5
    assert "does not fit this training (tensor" in caplog.text


@pytest.mark.holds("R-11")
def test_going_on_with_another_number_of_threads_is_said(images, tmp_path, caplog):
    threads = torch.get_num_threads()
    run(small(epochs=1), images, tmp_path)
    torch.set_num_threads(threads + 1)
    try:
        run(small(epochs=2), images, tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert f"threads {threads}, now {threads + 1}" in caplog.text
    assert "instructions" not in caplog.text


def test_checkpoints_are_saved_by_time(images, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(saving, "save", lambda state, *_: saved.append(state.step))
    run(small(training__save_seconds=0.0), images, tmp_path / "a")
    assert saved == list(range(11))
    saved.clear()
    run(small(training__save_seconds=1000.0), images, tmp_path / "b")
    assert saved == [0, 5, 10]  # the beginning, and each epoch's end


def test_one_batch_too_many_is_refused(images, tmp_path):
    with pytest.raises(DataError, match="40 images, batch_size = 64"):
        run(small(batch_size=64), images, tmp_path)


@pytest.mark.holds("R-40")
@pytest.mark.parametrize("update", UPDATES)
def test_a_hopeless_learning_rate_ends_before_a_broken_checkpoint_is_written(
    update, images, tmp_path
):
    params = small(
        lr=1.0,
        epochs=200,
        training__update=update,
        training__eps=1e-30,
        generator__norm="none",
        training__save_seconds=0.0,
    )
    params = params.model_copy(update={"lr": 1e20})
    with pytest.raises(Diverged, match="not finite any more") as caught:
        run(params, images, tmp_path)
    assert caught.value.exit_code == 4
    with Checkpoints(tmp_path, "t") as checkpoints:
        tensors, _ = checkpoints.load_newest()
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def rate(optimizer):
    return optimizer.param_groups[0]["lr"].item()


def test_learning_rates_fall_in_a_line_from_the_named_share_on():
    params = small(lr=1e-3, training__generator_lr_scale=0.5, training__linear_decay_from=0.5)
    state = build(params)
    rates = []
    for state.step in (0, 50, 75, 99):
        loop.set_learning_rates(state, 100, lr=params.lr, training=params.training)
        rates.append((rate(state.opt_d), rate(state.opt_g)))
    assert rates == [
        pytest.approx(pair) for pair in ((1e-3, 5e-4), (1e-3, 5e-4), (5e-4, 2.5e-4), (2e-5, 1e-5))
    ]
    loop.set_learning_rates(state, 100, lr=1e-3, training=small().training)
    assert rate(state.opt_d) == torch.tensor(1e-3).item()


def test_the_generator_has_its_own_learning_rate():
    state = build(small(lr=4e-4, training__generator_lr_scale=0.5))
    assert rate(state.opt_g) == torch.tensor(2e-4).item()


@pytest.mark.parametrize(
    ("num_images", "processes", "last", "over"),
    [(40, 1, 10, 0), (31, 1, 0, 1), (30, 1, 0, 0), (39, 2, 8, 1), (33, 2, 0, 3), (44, 4, 12, 2)],
)
def test_a_last_batch_is_shared_out_evenly_and_the_rest_counted(num_images, processes, last, over):
    assert loop.last_batch(num_images, 30, processes) == last
    assert loop.left_out(num_images, 30, processes, drop_last=False) == over
    assert loop.left_out(num_images, 30, processes, drop_last=True) == 0


def test_a_last_batch_of_one_image_is_left_out(images, tmp_path):
    params = small(batch_size=13, epochs=1, training__drop_last=False)
    assert len(images) % 13 == 1
    assert run(params, images, tmp_path / "a").step == 3
    params = small(batch_size=12, epochs=1, training__drop_last=False)
    assert run(params, images, tmp_path / "b").step == 4


def test_one_image_a_step_trains_networks_without_batch_norm(images, tmp_path):
    params = small(
        batch_size=1, epochs=1, generator__start_norm="map", generator__norm="batch",
        training__drop_last=False,
    )  # fmt: skip
    assert run(params, images[:3], tmp_path).step == 3


def test_a_training_begins_with_given_weights_and_its_average_too(images, tmp_path):
    params, seen = small(epochs=1), {}
    other = build(small(seed=77)).generator
    given = plain_weights(other)

    def on_epoch(epoch, state):
        for name, network in (("g", state.generator), ("ema", state.ema)):
            seen[name, epoch] = copy.deepcopy(plain_weights(network))

    run(params, images, tmp_path, on_epoch=on_epoch, start_from={"generator": other})
    for name in ("g", "ema"):
        first = seen[name, 0]
        assert all(torch.equal(first[key], given[key]) for key in first)
    assert not torch.equal(*(seen["g", epoch]["layers.0.weight"] for epoch in (0, 1)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # The first two have weights of the same shapes, which would fit silently.
        ({"generator__slope": 0.11}, "generator.slope is 0.11, in params.yaml it is "),
        ({"generator__z_distribution": "uniform"}, "generator.z_distribution is uniform"),
        ({"generator__z_dim": 5}, "generator.z_dim is 5"),
        ({"discriminator__slope": 0.11}, "discriminator.slope is 0.11"),
    ],
)
def test_weights_of_another_architecture_are_refused_by_the_name_of_the_key(change, said):
    other = build(small(**change))
    given = {"generator": other.generator, "discriminator": other.discriminator}
    with pytest.raises(ConfigError, match=rf"^training.start_from: the model's {said}"):
        loop.start(build(small()), given)


def test_without_an_average_an_epoch_has_one_generator(images, tmp_path):
    train_and_export(small(epochs=1, training__ema_half_life=0.0), images, tmp_path)
    written = sorted(path.name for path in (tmp_path / "t/exports/epoch-0001").iterdir())
    assert [name for name in written if name.endswith("tensors")] == [
        "discriminator.safetensors",
        "generator.safetensors",
    ]

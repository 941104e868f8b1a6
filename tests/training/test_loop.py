import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan import data, rng
from dcgan.config import reading
from dcgan.errors import DataError, Diverged, EnvironmentProblem, NoCheckpoint, Stopped
from dcgan.training import checkpoint, updates
from dcgan.training import loop as training
from dcgan.training.checkpoint import Scratch
from dcgan.training.step import Step

CPU = torch.device("cpu")
SMALL = {
    "batch_size": 8,
    "epochs": 2,
    "generator.start_size": 4, "generator.channels": [8, 8], "generator.strides": [2, 2], "generator.z_dim": 4,
    "discriminator.channels": [8, 8], "discriminator.dropout": [0.3, 0.3], "discriminator.spectral_norm": False,
    "training.update": "simultaneous", "training.loss": "non_saturating", "training.generator_lr_scale": 1.0,
    "lr": 4e-4, "beta1": 0.5, "training.beta2": 0.999, "training.linear_decay_from": 1.0,
    "generator.kernel": 5, "discriminator.kernel": 5, "discriminator.strides": [2, 2],
    "training.num_samples": 4, "training.log_every": 1, "training.save_every": 3,
    "dataset.image_size": 16,
}  # fmt: skip


def small(**changes):
    values = copy.deepcopy(reading.read_yaml(Path("params.yaml")))
    for key, value in {
        **SMALL,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return reading.parse(values)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)


def run(params, images, folder, **options):
    with Scratch(folder, "t") as scratch:
        return training.train(params, images, scratch, device=CPU, precision="float32", **options)


def fingerprint(state) -> dict[str, torch.Tensor]:
    """Everything that a step changes, as plain tensors."""
    networks = {"g": state.generator, "d": state.discriminator, "ema": state.ema}
    tensors = {
        f"{name}.{key}": value.clone()
        for name, net in networks.items()
        for key, value in net.state_dict().items()
    }
    for name, optimizer in (("opt_g", state.opt_g), ("opt_d", state.opt_d)):
        tensors |= {
            key: value.clone()
            for key, value in checkpoint.optimizer_tensors(optimizer, name).items()
        }
    tensors["step"] = torch.tensor(state.step)
    tensors["history"] = torch.tensor(
        [list(row.values()) for row in state.history], dtype=torch.float64
    )
    return tensors


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


UPDATES = ["simultaneous", "alternating", "concatenated", "one_network"]
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


def test_more_epochs_extend_a_finished_training_to_the_same_bits(images, tmp_path):
    run(small(), images, tmp_path / "a")
    extended = run(small(epochs=4), images, tmp_path / "a")
    assert same(fingerprint(extended), fingerprint(run(small(epochs=4), images, tmp_path / "b")))


KILLED = """
import os, sys
sys.path[:0] = ["src", "tests"]
import numpy as np
import tests.training.test_loop as t
from dcgan import files
from dcgan.training import loop as training
where, number, folder = sys.argv[1], int(sys.argv[2]), t.Path(sys.argv[3])
calls = 0
def die(*args, **kwargs):
    global calls
    calls += 1
    if calls == number:
        os.kill(os.getpid(), 9)
    return original(*args, **kwargs)
owner, name = {
    "before the temporary file": (files.tempfile, "mkstemp"),
    "before fsync": (os, "fsync"),
    "before rename": (os, "replace"),
    "between D's and G's update": (t.updates.Step, "apply"),
    "before the next batch": (t.data, "to_float"),
    "while old states are dropped": (t.Path, "unlink"),
}[where]
original = getattr(owner, name)
setattr(owner, name, die)
images = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
t.run(t.small(), images, folder, on_epoch=lambda e, s: training.write_epoch(e, s, t.small(), folder / "t"))
"""


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("before the temporary file", 14),  # a state's JSON
        ("before fsync", 9),  # an export of the first epoch
        ("before rename", 5),  # the state after 3 steps
        ("before rename", 2),
        ("between D's and G's update", 8),
        ("before the next batch", 6),
        ("while old states are dropped", 17),
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits_and_leaves_nothing_behind(
    where, number, images, tmp_path
):
    """R-01, R-18: SIGKILL at named points; the long list is a test of its own."""
    params = small()

    def shown(folder):
        return lambda epoch, state: training.write_epoch(epoch, state, params, folder / "t")

    whole = fingerprint(run(params, images, tmp_path / "a", on_epoch=shown(tmp_path / "a")))
    command = [sys.executable, "-c", KILLED, where, str(number), str(tmp_path / "b")]
    died = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -9, died.stderr
    torch.set_num_threads(1)
    assert same(
        whole, fingerprint(run(params, images, tmp_path / "b", on_epoch=shown(tmp_path / "b")))
    )
    names = [
        sorted(str(path.relative_to(tmp_path / f)) for path in (tmp_path / f).rglob("*"))
        for f in "ab"
    ]
    assert names[0] == names[1]
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and path.name != "holder":
            assert (
                path.read_bytes()
                == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
            ), path


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


def test_a_second_process_on_the_same_scratch_folder_is_refused(tmp_path):
    with (
        Scratch(tmp_path, "t"),
        pytest.raises(EnvironmentProblem, match=f"in use by process {os.getpid()}"),
        Scratch(tmp_path, "t"),
    ):
        pass


def test_pruning_keeps_the_newest_folders_and_those_in_use(tmp_path):
    for i, name in enumerate("abcde"):
        with Scratch(tmp_path, name) as scratch:
            (scratch.folder / "file").write_text("")
        os.utime(tmp_path / name, (i, i))
    with Scratch(tmp_path, "a"), Scratch(tmp_path, "e") as scratch:
        os.utime(tmp_path / "a", (0, 0))
        scratch.prune(keep=3)
    # a is old but in use, e is the caller's own, c and d are the newest of the others.
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a", "c", "d", "e"]


def test_every_epoch_visits_each_image_once_in_an_order_of_its_own():
    orders = [rng.epoch_order(100, 7, epoch) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[1], rng.epoch_order(100, 7, 1))


def test_one_batch_too_many_is_refused(images, tmp_path):
    with pytest.raises(DataError, match="40 images, batch_size = 64"):
        run(small(batch_size=64), images, tmp_path)


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
        training__save_every=1,
    )
    params = params.model_copy(update={"lr": 1e20})
    with pytest.raises(Diverged, match="is not finite") as caught:
        run(params, images, tmp_path)
    assert caught.value.exit_code == 4
    with Scratch(tmp_path, "t") as scratch:
        tensors, _ = scratch.load()
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("measure", [True, False])
@pytest.mark.parametrize("what", ["loss", "gradient", "buffer"])
def test_nothing_that_is_not_finite_passes_into_an_update(what, measure, update, images):
    params = small(training__update=update)
    state = training.build(params, 1, CPU)
    state.step = int(update == "one_network" and what != "buffer")  # D's turn comes second
    real = data.to_float(images[:8])
    if what == "loss":
        real[0] = math.nan
    elif what == "gradient":
        next(state.discriminator.parameters()).register_hook(lambda gradient: gradient * math.nan)
    else:
        next(buffer for buffer in state.generator.buffers() if buffer.dim()).fill_(math.inf)
    before = [p.clone() for p in state.generator.parameters()]
    with pytest.raises(Diverged, match=r"step [12]: [DG] is not finite"):
        updates.train_step(state, params, real, "float32", measure=measure)
    assert all(torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))


@pytest.mark.parametrize("update", UPDATES)
def test_looking_at_the_figures_changes_nothing(update, images):
    states = []
    for measure in (True, False):
        params = small(training__update=update, discriminator__spectral_norm=True)
        state = training.build(params, 1, CPU)
        for _ in range(3):
            updates.train_step(state, params, data.to_float(images[:8]), "float32", measure=measure)
        states.append(fingerprint(state))
    assert same(*states)


def plain_step(params, images, kind):
    """The update as a textbook writes it, with zero_grad, backward and step, dropout off."""
    from dcgan.networks import sampling

    state = training.build(params, 1, CPU)
    g, d = state.generator, state.discriminator
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    latent = rng.generator(params.seed, "z", 0)
    real = data.to_float(images[:8])

    def z():
        return sampling.draw((8, 4), "normal", latent)

    if kind == "simultaneous":
        fake = g(z())
        loss_d = cross_entropy(d(real), torch.ones(8)) + cross_entropy(d(fake), torch.zeros(8))
        loss_g = cross_entropy(d(fake), torch.ones(8))
        gradients_d = torch.autograd.grad(loss_d, list(d.parameters()), retain_graph=True)
        loss_g.backward()
        for parameter, gradient in zip(d.parameters(), gradients_d, strict=True):
            parameter.grad = gradient
        state.opt_d.step()
        state.opt_g.step()
        return state
    if kind == "alternating":
        fake = g(z())
        fake_d, fake_g, scale = fake.detach(), lambda: fake, 1
    elif kind == "concatenated":
        fake_d = g.eval()(z()).detach()
        g.train()
        fake_g, scale = lambda: g(z()), 0.5
    else:  # one_network, whose first batch is G's
        z()
        cross_entropy(d(g(z())), torch.ones(8)).backward()
        state.opt_g.step()
        return state
    (
        scale * (cross_entropy(d(real), torch.ones(8)) + cross_entropy(d(fake_d), torch.zeros(8)))
    ).backward()
    state.opt_d.step()
    cross_entropy(d(fake_g()), torch.ones(8)).backward()
    state.opt_g.step()
    return state


@pytest.mark.parametrize("update", UPDATES)
def test_an_update_is_the_textbooks(update, images):
    params = small(training__update=update, discriminator__dropout=[0.0, 0.0])
    state = training.build(params, 1, CPU)
    updates.train_step(state, params, data.to_float(images[:8]), "float32", measure=False)
    expected = plain_step(params, images, update)
    for mine, theirs in (
        (state.generator, expected.generator),
        (state.discriminator, expected.discriminator),
    ):
        for (name, one), two in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7, msg=name)


def changed(network, before) -> bool:
    return any(
        not torch.equal(one, two) for one, two in zip(network.parameters(), before, strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "turns"),
    [
        (
            {"training__update": "alternating", "training__discriminator_steps": 3},
            ["d", "d", "dg", "d", "d", "dg"],
        ),
        (
            {"training__update": "concatenated", "training__discriminator_steps": 2},
            ["d", "dg", "d", "dg"],
        ),
        ({"training__update": "one_network"}, ["g", "d", "g", "d"]),
        (
            {"training__update": "one_network", "training__discriminator_steps": 2},
            ["g", "d", "d", "g"],
        ),
        ({"training__update": "simultaneous"}, ["dg", "dg"]),
    ],
)
def test_each_network_is_updated_on_its_turn_alone_and_every_row_is_full(changes, turns, images):
    params = small(**changes)
    state = training.build(params, 1, CPU)
    for turn in turns:
        before = {
            "d": [p.clone() for p in state.discriminator.parameters()],
            "g": [p.clone() for p in state.generator.parameters()],
        }
        row = updates.train_step(state, params, data.to_float(images[:8]), "float32", measure=True)
        found = {
            name
            for name, network in (("d", state.discriminator), ("g", state.generator))
            if changed(network, before[name])
        }
        assert found == set(turn)
        assert min(row["grad_norm_d"], row["grad_norm_g"]) > 0


def test_r1_is_half_gamma_times_the_mean_squared_slope_at_real_images_and_counts_for_the_steps_between(
    images,
):
    params = small(training__r1_gamma=2.0, training__r1_every=4, discriminator__dropout=[0.0, 0.0])
    state = training.build(params, 1, CPU)
    real = data.to_float(images[:8])
    step = Step(state, params, real, "float32", False)
    epsilon, slopes = 1e-2, []
    d = copy.deepcopy(state.discriminator).double().eval()
    for image in real.double():
        # Finite differences of D, a pixel at a time.
        moves = epsilon * torch.eye(256, dtype=torch.float64).view(256, 1, 16, 16)
        with torch.no_grad():
            slope = (logits(d, image + moves) - logits(d, image - moves)) / (2 * epsilon)
        slopes.append(slope.square().sum())
    assert float(step.r1().detach()) == pytest.approx(
        2.0 / 2 * 4 * float(torch.stack(slopes).mean()), rel=0.05
    )
    state.step = 1
    assert Step(state, params, real, "float32", False).r1() == 0.0


def logits(d, images):
    """D without its cast to float32."""
    for block in d.blocks:
        images = block(images)
    return d.head(images).squeeze(1)


def test_learning_rates_fall_in_a_line_from_the_named_share_on():
    params = small(lr=1e-3, training__generator_lr_scale=0.5, training__linear_decay_from=0.5)
    state = training.build(params, 1, CPU)
    found = []
    for state.step in (0, 50, 75, 99):
        training.set_learning_rates(state, params, 100)
        found.append((state.opt_d.param_groups[0]["lr"], state.opt_g.param_groups[0]["lr"]))
    assert found == [
        pytest.approx(pair) for pair in ((1e-3, 5e-4), (1e-3, 5e-4), (5e-4, 2.5e-4), (2e-5, 1e-5))
    ]
    training.set_learning_rates(state, small(lr=1e-3), 100)
    assert state.opt_d.param_groups[0]["lr"] == 1e-3


def test_the_generator_has_its_own_learning_rate():
    assert (
        training.build(small(lr=4e-4, training__generator_lr_scale=0.5), 1, CPU).opt_g.param_groups[
            0
        ]["lr"]
        == 2e-4
    )


def test_the_average_follows_the_weights(images):
    params = small(training__ema_half_life=8)
    state = training.build(params, 1, CPU)
    old = [p.clone() for p in state.ema.parameters()]
    updates.train_step(state, params, data.to_float(images[:8]), "float32", measure=False)
    for before, now, weight in zip(
        old, state.ema.parameters(), state.generator.parameters(), strict=True
    ):
        torch.testing.assert_close(
            now, before + (1 - 0.1) * (weight - before)
        )  # warm-up: 1 / 10 at step 0
    for mine, theirs in zip(state.ema.buffers(), state.generator.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_bfloat16_trains_with_weights_kept_in_float32(images):
    params = small()
    state = training.build(params, 1, CPU)
    row = updates.train_step(state, params, data.to_float(images[:8]), "bfloat16", measure=True)
    assert all(math.isfinite(value) for value in row.values())
    assert all(p.dtype == torch.float32 for p in state.generator.parameters())

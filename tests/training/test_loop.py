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
from dcgan.errors import DataError, Diverged, NoCheckpoint, Stopped
from dcgan.training import loop, optimizers, step
from dcgan.training.checkpoint import Checkpoints
from tests.support import small_training
from tests.support.small_training import small, training_arguments

CPU = torch.device("cpu")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)


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
            epoch, state, folder / "t", seed=params.seed, num_samples=training.num_samples
        )

    return run(params, images, folder, on_epoch=on_epoch)


def build(params) -> step.State:
    return small_training.build(params, 1, CPU)


def train_step(state, params, real, *, precision="float32", measure=False):
    return step.train_step(
        state,
        real,
        seed=params.seed,
        training=params.training,
        precision=precision,
        measure=measure,
    )


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
            key: value.clone() for key, value in optimizers.moments(optimizer, name).items()
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


# Where a training is killed: the phase and the file, below its folder, or the step of the training.
# `begin`, `flush` and `rename` are the phases of files.replacing.
KILL_POINTS = {
    "the first grid, before its rename": ("rename", "samples/epoch-0000.png"),
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

    def applied(batch, optimizer, network, gradients):
        if network is batch.state.generator:
            reached("update of G", batch.state.step)
        apply(batch, optimizer, network, gradients)

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


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_killed_training_goes_on_to_the_same_bits_and_leaves_nothing_behind(
    point, images, tmp_path
):
    """R-01, R-18: SIGKILL at named points; the long list is a test of its own."""
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
    with Checkpoints(tmp_path, "t") as checkpoints:
        tensors, _ = checkpoints.load_newest()
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("measure", [True, False])
@pytest.mark.parametrize("what", ["loss", "gradient", "buffer"])
def test_nothing_that_is_not_finite_passes_into_an_update(what, measure, update, images):
    params = small(training__update=update)
    state = build(params)
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
        train_step(state, params, real, measure=measure)
    assert all(torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))


@pytest.mark.parametrize("update", UPDATES)
def test_measuring_changes_nothing(update, images):
    states = []
    for measure in (True, False):
        params = small(training__update=update, discriminator__spectral_norm=True)
        state = build(params)
        for _ in range(3):
            train_step(state, params, data.to_float(images[:8]), measure=measure)
        states.append(fingerprint(state))
    assert same(*states)


def plain_step(params, images, kind):
    """The update as a textbook writes it, with zero_grad, backward and step, dropout off."""
    from dcgan.networks import sampling

    state = build(params)
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
    state = build(params)
    train_step(state, params, data.to_float(images[:8]))
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
    state = build(params)
    for turn in turns:
        before = {
            "d": [p.clone() for p in state.discriminator.parameters()],
            "g": [p.clone() for p in state.generator.parameters()],
        }
        row = train_step(state, params, data.to_float(images[:8]), measure=True)
        updated = {
            name
            for name, network in (("d", state.discriminator), ("g", state.generator))
            if changed(network, before[name])
        }
        assert updated == set(turn)
        assert min(row["grad_norm_d"], row["grad_norm_g"]) > 0


def test_r1_is_half_gamma_times_the_mean_squared_slope_and_counts_for_the_steps_between(images):
    params = small(training__r1_gamma=2.0, training__r1_every=4, discriminator__dropout=[0.0, 0.0])
    state = build(params)
    real = data.to_float(images[:8])
    batch = step.Batch(state, real, params.seed, params.training, "float32", False)
    epsilon, slopes = 1e-2, []
    d = copy.deepcopy(state.discriminator).double().eval()
    for image in real.double():
        # Finite differences of D, a pixel at a time.
        moves = epsilon * torch.eye(256, dtype=torch.float64).view(256, 1, 16, 16)
        with torch.no_grad():
            slope = (logits(d, image + moves) - logits(d, image - moves)) / (2 * epsilon)
        slopes.append(slope.square().sum())
    assert float(batch.r1().detach()) == pytest.approx(
        2.0 / 2 * 4 * float(torch.stack(slopes).mean()), rel=0.05
    )
    state.step = 1
    assert step.Batch(state, real, params.seed, params.training, "float32", False).r1() == 0.0


def logits(d, images):
    """D without its cast to float32."""
    for block in d.blocks:
        images = block(images)
    return d.head(images).squeeze(1)


def test_learning_rates_fall_in_a_line_from_the_named_share_on():
    params = small(lr=1e-3, training__generator_lr_scale=0.5, training__linear_decay_from=0.5)
    state = build(params)
    rates = []
    for state.step in (0, 50, 75, 99):
        loop.set_learning_rates(state, 100, lr=params.lr, training=params.training)
        rates.append((state.opt_d.param_groups[0]["lr"], state.opt_g.param_groups[0]["lr"]))
    assert rates == [
        pytest.approx(pair) for pair in ((1e-3, 5e-4), (1e-3, 5e-4), (5e-4, 2.5e-4), (2e-5, 1e-5))
    ]
    loop.set_learning_rates(state, 100, lr=1e-3, training=small().training)
    assert state.opt_d.param_groups[0]["lr"] == 1e-3


def test_the_generator_has_its_own_learning_rate():
    state = build(small(lr=4e-4, training__generator_lr_scale=0.5))
    assert state.opt_g.param_groups[0]["lr"] == 2e-4


def test_the_average_follows_the_weights(images):
    params = small(training__ema_half_life=8)
    state = build(params)
    old = [p.clone() for p in state.ema.parameters()]
    train_step(state, params, data.to_float(images[:8]))
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
    state = build(params)
    row = train_step(state, params, data.to_float(images[:8]), precision="bfloat16", measure=True)
    assert all(math.isfinite(value) for value in row.values())
    assert all(p.dtype == torch.float32 for p in state.generator.parameters())

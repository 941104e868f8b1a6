"""A training is shown as it goes: a line an epoch, its networks once, its figures in MLflow."""

import errno

import numpy as np
import pytest

from dcgan import files
from dcgan.data import Split
from dcgan.errors import EnvironmentProblem
from dcgan.networks import summary
from dcgan.training import checkpoint, watching
from tests.support.small_training import small
from tests.support.steps import build
from tests.support.watched import Lines, Log

RECORD = {
    "seed": 1, "epochs": 3, "dataset": "toys", "data_sha256": "aa" * 32, "device": "cpu",
    "precision": "float32",
}  # fmt: skip


@pytest.fixture(autouse=True)
def prepared(tmp_path):
    """What is said of the images that are trained on."""
    files.write_json(
        tmp_path / "manifest.json",
        {"dataset": "toys", "classes": ["a"], "image_size": 8, "channels": 1, "files": {},
         "source": "https://example.com/toys/",
         "splits": {"train": {"count": 9, "per_class": [9]}}},
    )  # fmt: skip


@pytest.fixture
def watcher(tmp_path):
    with checkpoint.Checkpoints(tmp_path, "t") as checkpoints:
        yield watching.Watcher(
            Log(), Lines(), checkpoints, RECORD, small().training, tmp_path / "results"
        )


def test_an_epoch_is_a_line_with_the_figures_of_its_last_step(watcher):
    state = build(small())
    watcher.on_epoch(0, state)
    assert watcher.bar.said == []  # nothing is trained yet
    rows = [{"epoch": 1, "step": step, "loss_d": step / 4, "loss_g": 1.0} for step in (1, 2)]
    for count in (1, 2):
        watcher.on_row(rows[:count])
    watcher.on_epoch(1, state)
    assert watcher.bar.said == ["epoch 1/3: loss_d 0.5, loss_g 1"]
    assert ("log_rows", rows) in watcher.run.entries
    watcher.on_epoch(2, state)
    assert watcher.run.entries[-2] == ("log_rows", [])  # they are not logged again


@pytest.mark.holds("R-07")
def test_the_history_grows_while_the_training_runs_and_begins_anew_after_a_kill(
    watcher, monkeypatch
):
    rows = [{"epoch": 1, "step": step, "loss_d": step / 4, "loss_g": 1.0} for step in (1, 2, 3)]
    path = watcher.results / "history.csv"
    path.parent.mkdir()
    path.write_text("epoch,step\n1,1\n1,2\n1,9\n")  # of steps after the last checkpoint
    for count in (2, 3):
        watcher.on_row(rows[:count])
        files.write_csv(path.with_name("expected.csv"), rows[:count])
        assert path.read_bytes() == path.with_name("expected.csv").read_bytes()
        assert files.read_json(watcher.results / "metrics.json") == {
            "trained_epoch": 1, "step": count, "loss_d": count / 4, "loss_g": 1.0
        }  # fmt: skip

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(EnvironmentProblem, match=r"history\.csv: no space left"):
        watcher.on_row(rows)


@pytest.mark.holds("R-43")
@pytest.mark.parametrize(
    ("alarm", "loss_d", "epochs"),
    [("discriminator_won", 0.001, 2), ("collapsed", 1.0, 2), (None, 1.0, 2)],
)
def test_an_alarm_is_a_line_once_and_a_tag(watcher, monkeypatch, alarm, loss_d, epochs):
    real = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), np.uint8)
    watcher.training = watcher.training.model_copy(update={"num_samples": 16})
    watcher.compare_with(Split(real, np.arange(40) % 2))
    made = real[:1].repeat(16, axis=0) if alarm == "collapsed" else real[:16]
    monkeypatch.setattr(watching.loop, "write_epoch", lambda *_, **__: made)
    state = build(small())
    watcher.on_epoch(0, state)
    rows = []
    for epoch in range(1, epochs + 1):
        rows.append({"epoch": epoch, "step": 300 * epoch, "loss_d": loss_d, "loss_g": 1.0})
        watcher.on_row(rows)
        watcher.on_epoch(epoch, state)
    warnings = [line for line in watcher.bar.said if "warning" in line]
    tags = [entry for entry in watcher.run.entries if entry[0] == "set_tags"]
    assert len(warnings) == (1 if alarm else 0)
    assert tags == ([("set_tags", {f"alarm.{alarm}": "epoch 1"})] if alarm else [])


def full(*_args, **_more):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_networks_are_described_once_before_the_first_step(watcher):
    state = build(small())
    path = watcher.folder / "networks.txt"
    for epoch in (0, 1):
        watcher.on_epoch(epoch, state)
    assert path.read_text() == watching.describe(state)
    assert [entry for entry in watcher.run.entries if entry[0] == "log_file"] == [
        ("log_file", path, "train")
    ]


def test_a_description_has_a_line_for_each_layer_below_its_network():
    state = build(small())
    lines = watching.describe(state).splitlines()
    trainable, running = summary.count_parameters(state.generator)
    assert lines[0] == (
        f"generator: {trainable:,} trainable parameters, {running:,} running statistics"
    )
    layers = summary.layers(state.generator)
    assert lines[1 + len(layers)].startswith("discriminator: ")
    for line, (kind, shape, count) in zip(lines[1:], layers, strict=False):
        assert line.split() == [kind, *shape.split(), f"{count:,}"]


@pytest.mark.holds("R-98")
@pytest.mark.parametrize("rate", [0.0, 12.5])
def test_a_training_that_took_no_step_has_no_rate_to_log(watcher, tmp_path, rate):
    watcher.bar.rate = rate
    watcher.finish([], tmp_path / "exports")
    logged = [entry for entry in watcher.run.entries if entry[0] == "log_metrics"]
    figures = {"images_per_second": 12.5, "checkpoint_seconds": 0.0}
    assert logged == ([("log_metrics", figures)] if rate else [])


@pytest.mark.parametrize(
    ("num_images", "epochs", "said"),
    [
        (300, 5, "about 90 steps of training (5 epochs of 300 images, 16 a step) are too few"),
        (300, 5, "raise epochs to about 223"),
        (320, 50, None),
    ],
)
def test_a_training_too_short_for_pictures_is_told(tmp_path, num_images, epochs, said):
    with checkpoint.Checkpoints(tmp_path, "t") as checkpoints:
        watcher = watching.Watcher(
            Log(), Lines(), checkpoints, {**RECORD, "epochs": epochs}, small().training, tmp_path
        )
        watcher.start(num_images, 0, tmp_path, tmp_path / "report.json", tmp_path / "data_docs")
    told = watcher.bar.said[1:]
    assert told == [] if said is None else any(said in line for line in told)


def test_the_data_are_logged_with_their_publisher_and_shape(watcher, tmp_path):
    watcher.start(9, 0, tmp_path, tmp_path / "report.json", tmp_path / "data_docs")
    about = {"split": "train", "images": 9, "shape": [1, 8, 8], "classes": {"a": 9}}
    assert (
        "log_dataset", "toys", "aa" * 32, "https://example.com/toys/", "training", about
    ) in watcher.run.entries  # fmt: skip


def test_images_that_every_epoch_leaves_out_are_told(watcher, tmp_path):
    watcher.start(330, 3, tmp_path, tmp_path / "report.json", tmp_path / "data_docs")
    assert any("3 of an epoch's last, smaller batch left out" in line for line in watcher.bar.said)

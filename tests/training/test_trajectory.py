"""The name of a trajectory, and what of its folder becomes outputs."""

import json

import numpy as np
import pytest
import torch

from dcgan import data
from dcgan.errors import NoCheckpoint
from dcgan.training import checkpoint, loop, trajectory, watching
from tests.support.prepared import write_prepared
from tests.support.small_training import small, training_arguments
from tests.support.watched import Lines, Log

CPU = torch.device("cpu")

RECORD = {"fingerprint", "dataset", "data_sha256", "seed", "epochs", "device", "precision"}


@pytest.fixture
def prepared(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    labels = np.zeros(40, np.int64)
    splits = {name: (images, labels) for name in data.SPLITS}
    write_prepared(tmp_path / "prepared", splits, name="toys", classes=["a"], image_size=16)
    (tmp_path / "lock").write_text("torch==1")
    return tmp_path / "prepared"


def settings(**changes):
    params = small(**changes)
    return {
        key: value.model_dump() if hasattr(value, "model_dump") else value
        for key, value in training_arguments(params).items()
    }


def identity(prepared, started=None, **changes):
    lock = prepared.parent / "lock"
    return trajectory.identity(settings(**changes), prepared, "cpu", "float32", started, lock)


@pytest.mark.holds("R-08")
def test_the_name_is_the_same_for_all_that_changes_no_weight(prepared):
    name, record = identity(prepared)
    assert set(record) == RECORD
    assert record["fingerprint"] == f"{name}-2"
    same = {"epochs": 3, "training__save_seconds": 7.0, "training__device": "cpu"}
    for key, value in same.items():
        assert identity(prepared, **{key: value})[0] == name, key


@pytest.mark.holds("R-08")
@pytest.mark.parametrize(
    "changes", [{"lr": 1e-4}, {"seed": 2}, {"generator__z_dim": 5}, {"training__log_every": 2}]
)
def test_the_name_is_another_for_another_training(prepared, changes):
    assert identity(prepared, **changes)[0] != identity(prepared)[0]


def test_the_number_of_epochs_is_in_the_name_where_the_learning_rate_depends_on_it(prepared):
    decays = {"training__linear_decay_from": 0.5}
    assert identity(prepared, **decays)[0] != identity(prepared, **decays, epochs=3)[0]


def test_another_lock_is_another_trajectory(prepared):
    name, _ = identity(prepared)
    (prepared.parent / "lock").write_text("torch==2")
    assert identity(prepared)[0] != name


def test_outputs_are_the_epochs_asked_for_and_run_json_says_what_they_were_trained_with(
    prepared, tmp_path
):
    name, record = identity(prepared)
    images = data.open_split(prepared, "train").images
    results, exports = tmp_path / "results", tmp_path / "exports"
    log, lines = Log(), Lines()
    with checkpoint.Checkpoints(tmp_path / "scratch", name) as checkpoints:
        for epochs in (3, 2):  # the shorter one finds a folder with more epochs
            record |= {"epochs": epochs}
            watcher = watching.Watcher(log, lines, checkpoints, record, small().training, results)
            watcher.start(40, 0, prepared, tmp_path / "report.json", tmp_path / "data_docs")
            state = loop.train(
                images, checkpoints, **training_arguments(small(epochs=epochs)),
                device=CPU, precision="float32", on_row=watcher.on_row, on_epoch=watcher.on_epoch,
            )  # fmt: skip
            rows = trajectory.publish(
                watcher.folder, state.history, record, settings(), results, exports
            )
            watcher.finish(rows, exports)
    assert sorted(path.name for path in exports.iterdir()) == ["epoch-0001", "epoch-0002"]
    assert len(list((results / "samples").iterdir())) == 3
    assert len((results / "history.csv").read_text().splitlines()) == 1 + 2 * 5
    run_json = json.loads((results / "run.json").read_text())
    assert run_json == {"format": 1, **record, "settings": settings()}
    assert lines.said[0].startswith("train: 40 images on cpu in float32, scratch folder ")
    assert lines.said[2].startswith("epoch 1/3: loss_d ")
    assert ", going on after 15 steps" in lines.said[-3]
    waited = checkpoints.seconds
    assert lines.said[-1] == (
        f"train: 2 epochs, 10 images a second, {waited:.1f} s for checkpoints, exports in {exports}"
    )
    figures = {"images_per_second": 10.0, "checkpoint_seconds": waited}
    assert ("log_metrics", figures) in log.entries
    steps = [entry[3] for entry in log.entries if entry[0] == "log_image"]
    assert steps == [1, 2, 3, 1, 2, 3, 1, 2]


def test_the_weights_that_it_begins_with_name_a_trajectory_and_their_address_does_not(prepared):
    addresses = ("models:/dcgan-toys@champion", "models:/dcgan-toys/3")
    named = [
        identity(prepared, {"generator": "ab" * 32}, training__start_from=address)
        for address in addresses
    ]
    assert named[0][0] == named[1][0] != identity(prepared)[0]
    assert named[1][1]["start_from"] == addresses[1]
    assert named[1][1]["start_sha256"] == "ab" * 32
    other = identity(prepared, {"generator": "cd" * 32}, training__start_from=addresses[0])
    assert other[0] != named[0][0]


@pytest.mark.parametrize(
    ("every", "last", "epochs", "kept"),
    [
        (1, 1, 4, [1, 2, 3, 4]), (3, 1, 7, [3, 6, 7]), (3, 3, 7, [3, 5, 6, 7]), (9, 1, 2, [2]),
        (9, 9, 2, [1, 2]),
    ],
)  # fmt: skip
def test_every_nth_epoch_and_the_last_ones_are_kept(every, last, epochs, kept):
    training = {"keep_every": every, "keep_last": last}
    assert trajectory.kept_epochs(epochs, training) == kept


def test_an_epoch_that_a_longer_training_did_not_keep_is_asked_for_in_vain(prepared, tmp_path):
    folder, values = tmp_path / "scratch", settings(training__keep_every=5)
    (folder / "samples").mkdir(parents=True)
    for epoch in range(4):
        trajectory.sample_grid(folder, epoch).write_bytes(b"grid")
    _, record = identity(prepared)
    with pytest.raises(NoCheckpoint, match=r"has no networks of epoch 3, .*keep_every"):
        trajectory.publish(
            folder, [], {**record, "epochs": 3}, values, tmp_path / "results", tmp_path / "exports"
        )
    assert not (tmp_path / "exports").exists()

"""What a training is called, and what of its folder becomes the train stage's outputs.

A trajectory is named by everything that decides its weights, step by step. More epochs extend it;
a training is a trajectory and a number of epochs.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dcgan
from dcgan import data, files
from dcgan.errors import NoCheckpoint
from dcgan.pictures import plots
from dcgan.training.state import Row

RUN_FORMAT = 1  # of run.json
PROGRESS = ("step", "loss_d", "loss_g", "d_real", "d_fake_before")
# The modules whose code decides the weights: a change to one of them starts a new trajectory, a
# change to a plot does not.
CODE = (
    "data.py", "files.py", "rng.py",
    "networks/architecture.py", "networks/batches.py", "networks/exports.py",
    "networks/layers.py", "networks/models.py", "networks/sampling.py", "networks/weights.py",
    "pictures/grids.py", "pictures/letters.py",
    "training/augment.py", "training/checkpoint.py", "training/feeding.py", "training/fresh.py",
    "training/loop.py", "training/losses.py", "training/optimizers.py", "training/ranks.py",
    "training/replay.py", "training/saving.py", "training/state.py", "training/step.py",
    "training/synchronised.py",
)  # fmt: skip


def identity(
    settings: Mapping[str, Any],
    prepared: Path,
    device: str,
    precision: str,
    started: Mapping[str, str] | None = None,
    lock: Path = Path("requirements.lock"),
) -> tuple[str, dict[str, Any]]:
    """The name of a trajectory, and what run.json says of a training on it.

    Args:
        settings: the train stage's keys of params.yaml.
        prepared: the folder of the images.
        device: its type, what `auto` became.
        precision: what `auto` became.
        started: sha256 of the weights that it begins with, by network; None: it draws them.
        lock: the file of the runtime's packages.

    Returns:
        16 hex digits; and `fingerprint`, `dataset`, `data_sha256`, `seed`, `epochs`, `device` and
        `precision`; of a training that begins with given weights `start_from` and `start_sha256`.

    Raises:
        DataError: there are no prepared images.
    """
    # `save_seconds` and `cuda_graphs` change no result, and checkpoints of any number of processes
    # can be resumed; device and precision count as what `auto` became.
    unnamed = ("save_seconds", "cuda_graphs", "processes", "device", "precision")
    training = {key: value for key, value in settings["training"].items() if key not in unnamed}
    named = {**settings, "training": training}
    address = training["start_from"]
    if training["linear_decay_from"] == 1:
        del named["epochs"]  # else every learning rate depends on it
    manifest = data.read_manifest(prepared)
    data_sha256 = data.data_sha256(manifest)
    named |= {
        "data": data_sha256,
        "lock": files.sha256(lock),
        "device": device,
        "precision": precision,
    }
    if started:
        # An alias may move: what counts is which weights they are.
        named["training"] = {**training, "start_from": dict(started)}
    library = Path(dcgan.__file__).parent
    name = _digest(named, {module: library / module for module in CODE})
    return name, {
        "fingerprint": f"{name}-{settings['epochs']}",
        "dataset": manifest["dataset"],
        "data_sha256": data_sha256,
        "seed": settings["seed"],
        "epochs": settings["epochs"],
        "device": device,
        "precision": precision,
        **({"start_from": address, "start_sha256": started["generator"]} if started else {}),
    }


def publish(
    folder: Path,
    history: Sequence[Row],
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
    results: Path,
    exports: Path,
) -> list[Row]:
    """Write the outputs of the train stage.

    Args:
        folder: of the trajectory; it may have more epochs than `record` says.
        history: rows of all epochs in `folder`.
        record: as `identity` returns it.
        settings: the train stage's keys of params.yaml.
        results: gets `samples/`, `history.csv`, `metrics.json`, `curves.png` and, last, `run.json`.
        exports: gets `epoch-NNNN/` with the networks of each kept epoch.

    Returns:
        The rows of history.csv, those of the epochs that `record` says.

    Raises:
        NoCheckpoint: an epoch was not kept by the longer training that the folder is of.
    """
    rows = [row for row in history if row["epoch"] <= record["epochs"]]
    kept = kept_epochs(record["epochs"], settings["training"])
    for epoch in kept:
        if not epoch_exports(folder / "exports", epoch).is_dir():
            raise NoCheckpoint(
                f"{folder}: has no networks of epoch {epoch}, because a longer training with"
                " training.keep_every did not keep them: delete the folder to train again"
            )
    for output in (exports, results / "samples"):
        shutil.rmtree(output, ignore_errors=True)
    for epoch in range(record["epochs"] + 1):
        files.copy(sample_grid(folder, epoch), sample_grid(results, epoch))
    for epoch in kept:
        for path in epoch_exports(folder / "exports", epoch).iterdir():
            files.copy(path, epoch_exports(exports, epoch) / path.name)
    files.write_csv(results / "history.csv", rows)
    if rows:
        files.write_json(results / "metrics.json", progress(rows[-1]))
    plots.training_curves(rows, results / "curves.png")
    files.write_json(
        results / "run.json", {"format": RUN_FORMAT, **record, "settings": dict(settings)}
    )
    return rows


def kept_epochs(epochs: int, training: Mapping[str, Any]) -> list[int]:
    """The epochs whose networks a training of so many keeps, in rising order.

    Args:
        epochs: of the training.
        training: the section of params.yaml.
    """
    first_of_last = epochs - training["keep_last"] + 1
    every = training["keep_every"]
    return [epoch for epoch in range(1, epochs + 1) if epoch >= first_of_last or epoch % every == 0]


def progress(row: Row) -> dict[str, float]:
    """What `dvc exp show` says of a training while it runs, and afterwards: its newest row.

    The epoch has another name here: `epoch` of results/evaluate/metrics.json is the chosen one, and
    DVC would show neither under a name that both files have.
    """
    return {"trained_epoch": row["epoch"], **{name: row[name] for name in PROGRESS if name in row}}


def epoch_exports(exports: Path, epoch: int) -> Path:
    """The folder of an epoch's networks below that of all."""
    return exports / f"epoch-{epoch:04d}"


def sample_grid(folder: Path, epoch: int) -> Path:
    """Where an epoch's grid lies in a trajectory's folder and in the results."""
    return folder / "samples" / f"{epoch:04d}.png"


def _digest(values: Mapping[str, Any], code: Mapping[str, Path]) -> str:
    """16 hex digits of `values` and of the bytes of `code`, files by name."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode())
    for name, path in sorted(code.items()):
        digest.update(f"{name} {files.sha256(path)}".encode())
    return digest.hexdigest()[:16]

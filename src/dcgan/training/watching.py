"""What a person sees of a training while it runs: grids, figures and a line an epoch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dcgan import data, files, rng
from dcgan.config.sections import Training
from dcgan.networks import summary
from dcgan.training import alarms, loop, trajectory
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.state import Row, State

# Of a training: pictures need about a thousand at least, and get better for some thousands.
FEW_STEPS, GOOD_STEPS = 1000, 4000
SAID = {
    "discriminator_won": "D's loss is {:.1%} of what it is without knowing anything: D has won, and"
    " G learns little from it: lower lr, or raise training.generator_lr_scale",
    "collapsed": "the samples lie {:.0%} as far apart as real images: G draws the same few images:"
    " look at them; lower lr",
}  # of alarms
SHOWN = ("loss_d", "loss_g", "d_real", "d_fake_before")  # in the line of an epoch


class Log(Protocol):
    """A run in MLflow, which this package does not know."""

    def log_rows(self, rows: Iterable[Mapping[str, float | None]]) -> None:
        """Log rows of `step` and figures."""

    def log_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Log figures of the whole training."""

    def log_dataset(
        self, name: str, sha256: str, source: str, context: str, about: Mapping[str, Any]
    ) -> None:
        """Say which data the training uses, and for what."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""

    def log_image(self, image: Path, key: str, step: int) -> None:
        """Log a picture under a key with a slider of steps."""

    def log_file(self, path: Path, folder: str) -> None:
        """Log a file under a folder's name."""

    def log_folder(self, path: Path, folder: str) -> None:
        """Log a folder's content under a folder's name."""


class Progress(Protocol):
    """A bar on a terminal, plain lines elsewhere."""

    rate: float  # images a second; 0 before the first step
    per_step: int  # images

    def say(self, line: str) -> None:
        """Print a line."""


class Watcher:
    """Writes each epoch into the trajectory's folder, and shows it: callbacks of `loop.train`."""

    def __init__(
        self,
        run: Log,
        bar: Progress,
        checkpoints: Checkpoints,
        record: Mapping[str, Any],  # as `trajectory.identity` returns it
        training: Training,
        results: Path,  # of the stage
    ) -> None:
        self.run, self.bar, self.checkpoints, self.record = run, bar, checkpoints, record
        self.folder, self.training, self.results = checkpoints.folder, training, results
        self.rows: list[Row] = []  # of this epoch
        self.live = False  # whether history.csv has the rows so far
        self.kept = trajectory.kept_epochs(record["epochs"], training.model_dump())
        self.real: data.Images | None = None  # that the samples are compared with
        self.alarmed: set[str] = set()  # what was said

    def start(
        self, num_images: int, left_out: int, prepared: Path, report: Path, pages: Path
    ) -> None:
        """Say what is trained on, and log it.

        Args:
            num_images: of the train split.
            left_out: as `loop.left_out` counts them.
            prepared: the folder of the images.
            report: of their validation.
            pages: likewise, for people to read.
        """
        step = self.checkpoints.newest_step()
        resumed = f", going on after {step} steps" if step else ""
        self.bar.say(
            f"train: {num_images} images on {self.record['device']} in {self.record['precision']},"
            f" scratch folder {self.folder}{resumed}"
        )
        batch_size, epochs = self.bar.per_step, self.record["epochs"]
        if left_out:
            self.bar.say(
                f"train: {left_out} of an epoch's last, smaller batch left out: each process needs"
                " two images at least, and as many as the others"
            )
        steps_per_epoch = max(1, num_images // batch_size)
        if epochs * steps_per_epoch < FEW_STEPS:
            self.bar.say(
                f"train: warning: about {epochs * steps_per_epoch} steps of training ({epochs}"
                f" epochs of {num_images} images, {batch_size} a step) are too few for pictures:"
                f" raise epochs to about {math.ceil(GOOD_STEPS / steps_per_epoch)}"
            )
        dataset, data_sha256 = self.record["dataset"], self.record["data_sha256"]
        manifest = data.read_manifest(prepared)
        about = data.described(manifest, "train")
        self.run.log_dataset(dataset, data_sha256, manifest["source"], "training", about)
        self.run.log_file(report, "validate")
        self.run.log_folder(pages, "validate/data_docs")

    def compare_with(self, split: data.Split) -> None:
        """Take as many of the train images as a grid has, from each class in its share."""
        rows = rng.choose_of_each(
            split.labels, self.training.num_samples, self.record["seed"], "alarms"
        )
        self.real = np.array(split.images[rows])

    def on_row(self, rows: Sequence[Row]) -> None:
        """Add the newest row to history.csv, for `dvc plots` and `dvc exp show`; keep it to log."""
        path = self.results / "history.csv"
        if self.live:
            files.append_csv(path, rows[-1])
        else:  # DVC has deleted what a killed training had left
            files.write_csv(path, rows)
        self.live = True
        files.write_json(self.results / "metrics.json", trajectory.progress(rows[-1]))
        self.rows.append(rows[-1])

    def on_epoch(self, epoch: int, state: State) -> None:
        """Write the epoch's grid and exports, then log and print its figures."""
        seed, epochs = self.record["seed"], self.record["epochs"]
        made = loop.write_epoch(
            epoch, state, self.folder, seed=seed, training=self.training, kept=epoch in self.kept
        )
        self.run.log_rows(self.rows)
        if epoch:  # MLflow's slider begins with the first step, which would be grey
            self.run.log_image(trajectory.sample_grid(self.folder, epoch), "samples", epoch)
        else:
            files.write_text(self.folder / "networks.txt", describe(state))
            self.run.log_file(self.folder / "networks.txt", "train")
        if self.rows:
            # What fits a line of 80 letters; history.csv and MLflow have all.
            last = {name: self.rows[-1][name] for name in SHOWN if name in self.rows[-1]}
            shown = ", ".join(f"{name} {value:.3g}" for name, value in last.items())
            self.bar.say(f"epoch {epoch}/{epochs}: {shown}")
            self.raise_alarms(epoch, made)
            self.rows.clear()

    def raise_alarms(self, epoch: int, made: data.Images) -> None:
        """Say what looks wrong, once each, and tag the run with the first epoch."""
        if self.real is None:
            return
        for name, value in alarms.found(self.rows, made, self.real, self.training).items():
            if name not in self.alarmed:
                self.alarmed.add(name)
                self.bar.say(f"train: warning: epoch {epoch}: {SAID[name].format(value)}")
                self.run.set_tags({f"alarm.{name}": f"epoch {epoch}"})

    def finish(self, history: list[Row], exports: Path) -> None:
        """Log the stage's outputs, those of epochs that an earlier training made too.

        Args:
            history: rows of all epochs.
            exports: as `trajectory.publish` left it.
        """
        epochs, rate = self.record["epochs"], self.bar.rate
        self.run.log_rows(history)
        for epoch in range(1, epochs + 1):
            self.run.log_image(trajectory.sample_grid(self.results, epoch), "samples", epoch)
        self.run.log_file(self.results / "curves.png", "train")
        self.run.log_file(self.results / "history.csv", "train")
        waited = self.checkpoints.seconds
        if rate:
            self.run.log_metrics({"images_per_second": rate, "checkpoint_seconds": waited})
        self.bar.say(
            f"train: {epochs} epochs, {rate:.0f} images a second, {waited:.1f} s for checkpoints,"
            f" exports in {exports}"
        )


def describe(state: State) -> str:
    """Both networks as tables: layer, output shape, parameters."""
    lines = []
    for name, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        trainable, running = summary.count_parameters(network)
        lines.append(f"{name}: {trainable:,} trainable parameters, {running:,} running statistics")
        lines += [
            f"  {kind:<16} {shape:>16} {count:>12,}"
            for kind, shape, count in summary.layers(network)
        ]
    return "\n".join(lines) + "\n"

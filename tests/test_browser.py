"""MLflow's pages as a person sees them, in Debian's Chromium."""

import csv
from collections.abc import Iterator
from pathlib import Path

import exports
import numpy as np
import pytest
from imports import ROOT

from bench import screenshots
from dcgan import config, files, plots, provenance, registry, render, serving, tracking
from pipeline import evaluate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not screenshots.CHROMIUM, reason="chromium is missing: apt-get install chromium"),
]

EPOCHS = 5
ABOUT = {
    "dataset": "toys", "data_sha256": "d" * 64, "seed": 999, "epochs": EPOCHS, "fingerprint": "0123456789abcdef-5",
    "device": "cpu", "precision": "bfloat16",
}  # fmt: skip


def write_store(folder: Path) -> None:
    """What the stages of a small training log, and its model registered as the champion."""
    rng = np.random.default_rng(0)
    metrics = files.read_json(ROOT / "results/evaluate/metrics.json")
    with open(ROOT / "results/train/history.csv") as file:
        history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)][::10]
    grids = [rng.integers(0, 256, (112, 112, 3), np.uint8) for _ in range(EPOCHS + 1)]
    with tracking.run(ABOUT["fingerprint"], dataset="toys", tags=ABOUT, system_metrics=True) as run:
        run.log_params(provenance.flatten(config.load("generator", "training").model_dump()))
        run.log_dataset("toys", ABOUT["data_sha256"], Path("data/prepared"), "training")
        run.log_rows(history)
        for epoch, grid in enumerate(grids):
            run.log_image(grid, "samples", epoch)
    model = serving.write_model(folder / "model", exports.write(folder / "exports"), "# card\n")
    with tracking.run(ABOUT["fingerprint"], dataset="toys") as run:
        for epoch in range(1, EPOCHS + 1):
            run.log_rows([{"step": epoch, "classifier-01234567/validation/fid_ema": 30 / epoch}])
        numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        run.log_metrics({f"classifier-01234567/{key}": value for key, value in numbers.items()})
        run.describe(evaluate.description(ABOUT, metrics, "fid_10k"))
        run.log_folder(model, "model")
        run.set_tags(serving.tags(model, "model"))
    frames = [render.labelled(grid, f"epoch {epoch}") for epoch, grid in enumerate(grids)]
    render.gif(frames, folder / "render/training.gif", frame_ms=200)
    with tracking.run(ABOUT["fingerprint"], dataset="toys") as run:
        run.log_folder(folder / "render", "render")
    version = registry.register(model, dataset="toys", fingerprint=ABOUT["fingerprint"], tags={"fid_10k": "5.63"})
    registry.set_alias("toys", "champion", version.number, "the first", expected=None)

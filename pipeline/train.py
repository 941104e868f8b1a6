"""The train stage: a DCGAN on the train split, with exports and a grid each epoch."""

import os
import shutil
from pathlib import Path
from typing import Any

from dcgan.config import keys, reading, sections
from pipeline import cli

PREPARED, RESULTS, CHECKPOINTS = (
    Path("data/prepared"),
    Path("results/train"),
    Path("models/checkpoints"),
)

# The modules whose code decides the weights: a change to one of them starts a new trajectory, a
# change to a plot does not.
TRAJECTORY = (
    "data.py", "files.py", "networks/exports.py", "networks/models.py", "networks/sampling.py", "pictures/grids.py", "rng.py", "training/augment.py",
    "training/checkpoint.py", "training/loop.py", "training/losses.py", "training/optimizers.py", "training/step.py",
    "training/updates.py",
)  # fmt: skip


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    lr: sections.Rate
    beta1: sections.Fraction
    batch_size: sections.BatchSize
    epochs: sections.Epochs
    generator: sections.GeneratorParams
    discriminator: sections.DiscriminatorParams
    training: sections.Training


class Settings(sections.Section):
    """What only MLflow needs to know; no output depends on it, so dvc.yaml does not name it."""

    tracking: sections.Tracking


def main() -> None:
    """Train the networks, or go on where a killed training stopped: python -m pipeline.train."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.networks import devices
    from dcgan.pictures import plots
    from dcgan.progress import Bar
    from dcgan.tracking import provenance
    from dcgan.tracking import runs
    from dcgan.training import checkpoint, step
    from dcgan.training import loop as training

    report = files.read_json(Path("results/validate/report.json"))
    manifest = data.read_manifest(PREPARED)
    images = data.open_split(PREPARED, "train", verify=True).images
    device = devices.choose_device(params.training.device, params.training.deterministic)
    precision = devices.choose_precision(params.training.precision, device)
    trajectory, about = identity(params, manifest, device.type, precision)
    root = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"
    scratch = checkpoint.Scratch(root / "train", trajectory)
    bar = Bar("train", unit="images", per_step=params.batch_size)
    stop_signal = cli.catch_signals()
    settings = reading.load(Settings).tracking.model_dump()
    with (
        scratch,
        runs.open_run(
            about["fingerprint"], dataset=about["dataset"], tags=about, **settings
        ) as run,
        bar,
    ):
        going_on = f", going on after {scratch.last_step()} steps" if scratch.last_step() else ""
        bar.say(
            f"train: {len(images)} images on {device.type} in {precision}, scratch folder {scratch.folder}{going_on}"
        )
        run.log_params(keys.flatten(params.model_dump()))
        run.set_tags(
            {
                "params_hash": provenance.params_hash(params.model_dump()),
                "validation": report["success"],
            }
        )
        run.log_dataset(about["dataset"], about["data_sha256"], PREPARED, "training")
        run.log_file(Path("results/validate/report.json"), "validate")
        run.log_folder(root / "data_docs" / about["data_sha256"][:16], "validate/data_docs")
        rows: list[dict[str, float]] = []

        def on_epoch(epoch: int, state: step.State) -> None:
            training.write_epoch(epoch, state, params, scratch.folder)
            run.log_rows(rows)
            run.log_image(sample_grid(scratch.folder, epoch), "samples", epoch)
            if epoch == 0:
                files.write_text(scratch.folder / "networks.txt", training.describe(state))
                run.log_file(scratch.folder / "networks.txt", "train")
            if rows:
                last = rows[-1]
                bar.say(
                    f"epoch {epoch}/{params.epochs}: "
                    + ", ".join(f"{key} {last[key]:.3g}" for key in list(last)[2:])
                )
                rows.clear()

        state = training.train(
            params, images, scratch, device=device, precision=precision,
            on_row=rows.append, on_step=bar.update, on_epoch=on_epoch, stop_signal=stop_signal,
        )  # fmt: skip
        # A longer training in the same scratch folder has more than these epochs.
        history = [row for row in state.history if row["epoch"] <= params.epochs]
        publish(scratch.folder, params.epochs, history)
        plots.training_curves(history, RESULTS / "curves.png")
        files.write_json(RESULTS / "run.json", about)
        run.log_rows(history)
        for epoch in range(params.epochs + 1):
            run.log_image(sample_grid(RESULTS, epoch), "samples", epoch)
        run.log_file(RESULTS / "curves.png", "train")
        run.log_file(RESULTS / "history.csv", "train")
        if bar.rate:
            run.log_metrics({"images_per_second": bar.rate})
        bar.say(
            f"train: {params.epochs} epochs, {bar.rate:.0f} images a second, exports in {CHECKPOINTS}"
        )
        scratch.prune()


def identity(
    params: Params, manifest: dict[str, Any], device: str, precision: str
) -> tuple[str, dict[str, Any]]:
    """The name of the trajectory, which more epochs extend, and what run.json says of this training."""
    import dcgan
    from dcgan import data, files
    from dcgan.training import checkpoint

    # `save_every` changes no result; device and precision count as what `auto` became.
    chosen = params.model_dump(
        exclude={"epochs": True, "training": {"save_every", "device", "precision"}}
    )
    if params.training.linear_decay_from < 1:
        chosen["epochs"] = params.epochs  # every learning rate depends on it
    data_sha256 = data.data_sha256(manifest)
    where = {
        "data": data_sha256,
        "lock": files.sha256(Path("requirements.lock")),
        "device": device,
        "precision": precision,
    }
    library = Path(dcgan.__file__).parent
    trajectory = checkpoint.fingerprint(
        {**chosen, **where}, {name: library / name for name in TRAJECTORY}
    )
    about = {
        "dataset": manifest["dataset"],
        "data_sha256": data_sha256,
        "seed": params.seed,
        "epochs": params.epochs,
    }
    return trajectory, {
        "fingerprint": f"{trajectory}-{params.epochs}",
        **about,
        "device": device,
        "precision": precision,
    }


def sample_grid(folder: Path, epoch: int) -> Path:
    """Where an epoch's grid lies in the scratch folder and in the results."""
    return folder / "samples" / f"epoch-{epoch:04d}.png"


def publish(scratch: Path, epochs: int, history: list[dict[str, float]]) -> None:
    """Copy the first `epochs` epochs from the scratch folder to the stage's outputs, and write history.csv."""
    from dcgan import files

    for folder in (CHECKPOINTS, RESULTS / "samples"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for epoch in range(epochs + 1):
        shutil.copy(sample_grid(scratch, epoch), sample_grid(RESULTS, epoch))
        if epoch:
            shutil.copytree(
                scratch / "exports" / f"epoch-{epoch:04d}", CHECKPOINTS / f"epoch-{epoch:04d}"
            )
    files.write_csv(RESULTS / "history.csv", history)


if __name__ == "__main__":
    cli.run(main)

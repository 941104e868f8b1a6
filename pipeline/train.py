"""The train stage: a DCGAN on the train split, with exports and a grid each epoch."""

from pathlib import Path

from dcgan.config import keys, reading, sections
from pipeline import cli, data_docs

PREPARED, REPORT = Path("data/prepared"), Path("results/validate/report.json")
RESULTS, EXPORTS = Path("results/train"), Path("models/checkpoints")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads; each is an argument of `loop.train`."""

    seed: sections.Seed
    lr: sections.Rate
    beta1: sections.Fraction
    batch_size: sections.BatchSize
    epochs: sections.Epochs
    generator: sections.GeneratorParams
    discriminator: sections.DiscriminatorParams
    training: sections.Training


def main() -> None:
    """Train the networks, or go on where a killed training stopped: python -m pipeline.train."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.networks import devices
    from dcgan.progress import Bar
    from dcgan.tracking import provenance, runs
    from dcgan.training import checkpoint, loop, trajectory, watching

    settings, validated = params.model_dump(), files.read_json(REPORT)["success"]
    images = data.open_split(PREPARED, "train", verify=True).images
    device = devices.opened(params.training.device, deterministic=params.training.deterministic)
    precision = devices.choose_precision(params.training.precision, device)
    name, record = trajectory.identity(settings, PREPARED, device.type, precision)
    checkpoints = checkpoint.Checkpoints(files.scratch("train"), name)
    bar = Bar("train", unit="images", per_step=params.batch_size)
    stop = cli.catch_signals()
    tracking = reading.load(sections.AllParams).tracking.model_dump()  # decides no output
    tags = {**record, "params_hash": provenance.params_hash(settings), "validation": validated}
    tracked = runs.open_run(record["fingerprint"], dataset=record["dataset"], tags=tags, **tracking)
    with checkpoints, tracked as run, bar:
        run.log_params(keys.flatten(settings))
        watcher = watching.Watcher(run, bar, checkpoints, record, params.training.num_samples)
        watcher.start(len(images), PREPARED, REPORT, data_docs.ensure(PREPARED))
        state = loop.train(
            images, checkpoints, **dict(params), device=device, precision=precision,
            on_row=watcher.on_row, on_step=bar.update, on_epoch=watcher.on_epoch, stop_signal=stop,
        )  # fmt: skip
        rows = trajectory.publish(watcher.folder, state.history, record, settings, RESULTS, EXPORTS)
        watcher.finish(rows, RESULTS, EXPORTS)
        checkpoints.prune_others()


if __name__ == "__main__":
    cli.run(main)

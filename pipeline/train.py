"""The train stage: a DCGAN on the train split, with exports and a grid each epoch."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.config import keys, reading, sections
from pipeline import cli, convert, data_docs, launcher

if TYPE_CHECKING:
    import torch

    from dcgan.networks.models import Discriminator, Generator
    from dcgan.training.ranks import Ranks

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
    """Train the networks, or go on where a killed training stopped: python -m pipeline.train.

    With training.processes it starts so many; `torchrun ... -m pipeline.train` starts them itself.
    """
    params = reading.load(Params)
    from dcgan.networks import devices

    device = devices.opened(params.training.device, deterministic=params.training.deterministic)
    num = launcher.count(params.training, device, params.batch_size)
    if num > 1 and not launcher.launched():
        launcher.launch("pipeline.train", num)
        return
    stop = cli.catch_signals()
    with launcher.joined(device) as ranks:
        train(params, device, ranks, stop)


def train(params: Params, device: "torch.device", ranks: "Ranks", stop: Callable[[], int]) -> None:
    """Train as one of the processes. The first one checks, logs, prints and writes."""
    import torch

    from dcgan import data, files
    from dcgan.networks import devices
    from dcgan.progress import Bar
    from dcgan.tracking import provenance, runs
    from dcgan.training import checkpoint, loop, memory, trajectory, watching

    settings, validated = params.model_dump(), files.read_metrics(REPORT)["success"]
    split = data.open_split(
        PREPARED, "train", verify=ranks.first, memory=memory.total(torch.device("cpu")),
        open_shard=convert.open_shards(),
    )  # fmt: skip
    images = split.images
    precision = devices.choose_precision(params.training.precision, device)
    memory.check(
        params.generator, params.discriminator, image_channels=images.shape[1],
        batch_size=params.batch_size // ranks.count, precision=precision, device=device,
    )  # fmt: skip
    options = {**dict(params), "device": device, "precision": precision, "ranks": ranks}
    if not ranks.first:
        loop.train(images, None, **options, stop_signal=stop)
        return
    begin_with, started = start_from(params.training.start_from)
    name, record = trajectory.identity(settings, PREPARED, device.type, precision, started)
    checkpoints = checkpoint.Checkpoints(files.scratch("train"), name)
    bar = Bar("train", unit="images", per_step=params.batch_size)
    tracking = reading.load(sections.AllParams).tracking.model_dump()  # decides no output
    tags = {**record, "params_hash": provenance.params_hash(settings), "validation": validated}
    tracked = runs.open_run(record["fingerprint"], dataset=record["dataset"], tags=tags, **tracking)
    with checkpoints, tracked as run, bar:
        run.log_params(keys.flatten(settings))
        watcher = watching.Watcher(run, bar, checkpoints, record, params.training, RESULTS)
        watcher.compare_with(split)
        left_out = loop.left_out(
            len(images), params.batch_size, ranks.count, drop_last=params.training.drop_last
        )
        watcher.start(len(images), left_out, PREPARED, REPORT, data_docs.ensure(PREPARED))
        state = loop.train(
            images, checkpoints, **options, start_from=begin_with, stop_signal=stop,
            on_row=watcher.on_row, on_step=bar.update, on_epoch=watcher.on_epoch,
        )  # fmt: skip
        rows = trajectory.publish(watcher.folder, state.history, record, settings, RESULTS, EXPORTS)
        watcher.finish(rows, EXPORTS)
        checkpoints.prune_others()


def start_from(
    address: str | None,
) -> tuple[dict[str, "Generator | Discriminator"], dict[str, str]]:
    """The networks to begin with and the sha256 of their weights, by name; none for None."""
    if address is None:
        return {}, {}
    from dcgan import files
    from dcgan.networks import exports
    from dcgan.promotion import bundle, registry

    place = address if ":" in address else str(files.own_path(address))
    with tempfile.TemporaryDirectory() as temporary:
        folder = registry.fetch(place, Path(temporary, "model"))
        paths = {"generator": folder / bundle.GENERATOR}
        networks: dict[str, Generator | Discriminator] = {}
        networks["generator"], _ = exports.load_generator(paths["generator"])
        if (folder / bundle.DISCRIMINATOR).is_file():
            paths["discriminator"] = folder / bundle.DISCRIMINATOR
            networks["discriminator"], _ = exports.load_discriminator(paths["discriminator"])
        sha256 = {name: files.sha256(path) for name, path in paths.items()}
    both = "G and D" if "discriminator" in networks else "G alone, D begins anew"
    digest = sha256["generator"][:16]
    print(f"train: begins with the weights of {address}: {both}, sha256 of G {digest}")
    return networks, sha256


if __name__ == "__main__":
    cli.run(main)

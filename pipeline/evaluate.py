"""The evaluate stage: judge every checkpoint, choose one on validation, report it on test."""

import contextlib
import functools
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.config import reading, sections, trained
from pipeline import cli, pools

if TYPE_CHECKING:
    import torch

PREPARED, MODELS, RESULTS = Path("data/prepared"), Path("models"), Path("results/evaluate")
REFERENCE = Path("results/reference")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    evaluate: sections.Evaluate
    training: sections.OnDevices


def main() -> None:
    """Judge every checkpoint and export the best one: python -m pipeline.evaluate."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.judging import evaluation, figures, reference
    from dcgan.networks import devices
    from dcgan.pictures import plots
    from dcgan.progress import Bar
    from dcgan.promotion import serving
    from dcgan.reports import model_card, run_page
    from dcgan.tracking import names, runs

    training = trained.read()
    device = devices.opened(params.training.device)
    real = reference.Reference.open(REFERENCE, params.seed, device)
    key, dataset, section = training["fingerprint"], training["dataset"], real.section()
    tags = {"extractor_sha256": real.extractor.sha256}
    bar = Bar("evaluate", unit="checkpoints")
    with runs.open_run(key, dataset=dataset, tags=tags) as run, bar:
        manifest = data.read_manifest(PREPARED)
        for split in ("validation", "test"):
            run.log_dataset(
                f"{dataset}-{split}", training["data_sha256"], manifest["source"], split,
                data.described(manifest, split),
            )  # fmt: skip
        folders = evaluation.epochs(MODELS / "checkpoints")
        bar.update(0, len(folders))

        def on_row(row: evaluation.Row, done: int, total: int) -> None:
            run.log_rows([evaluation.curves(row, section)])
            (weights, values), folder = evaluation.best(row), folders[done - 1]
            export = folder / evaluation.WEIGHTS[weights]
            run.log_checkpoint(
                folder.name, files.read_json(export.with_suffix(".json"))["sha256"],
                int(row["epoch"]),
                {f"checkpoint/{name}": value for name, value in values.items()},
                {"epoch": int(row["epoch"]), "weights": weights, "export": str(export)},
                (f"{dataset}-validation", training["data_sha256"]),
            )  # fmt: skip
            bar.say("\n".join(evaluation.lines(row)))
            bar.update(done, total)

        with helpers(params, device, len(folders)) as pool:
            result = evaluation.evaluate(
                real, params.evaluate.num_samples, MODELS, on_row, bar.say, pool
            )
        metrics = {**result.metrics, "mlflow_run": names.of_run(dataset, key)}
        files.write_metrics(RESULTS / "metrics.json", metrics, figures.SHOWN)
        files.write_csv(RESULTS / "by_epoch.csv", result.rows)
        plots.by_epoch(result.rows, result.real, *result.chosen, RESULTS / "by_epoch.png")
        train = data.bank(data.open_split(PREPARED, "train"), params.seed)
        nearest = train.images[result.nearest]
        pair, names_ = (result.generated, nearest), ("generated", "nearest in train")
        plots.pairs(*pair, names_, result.captions, result.title, RESULTS / "nearest.png")
        run.log_metrics(
            {f"{section}/{name}": value for name, value in evaluation.for_mlflow(metrics).items()}
        )
        run.describe(run_page.describe(training, metrics))
        run.log_folder(RESULTS, "evaluate")
        serving.log_model(run, MODELS, model_card.write(training, manifest, metrics))
        bar.say(f"evaluate: {evaluation.summary(metrics)}")


@contextlib.contextmanager
def helpers(
    params: Params, device: "torch.device", num_checkpoints: int
) -> "Iterator[Executor | None]":
    """Processes that share the checkpoints and draws, if there is more than one; else None."""
    import torch

    from dcgan.judging import evaluation

    pieces = max(num_checkpoints, evaluation.DRAWS)
    num = pools.count(params.training.processes, device, pieces)
    if num == 1:
        yield None
        return
    print(f"evaluate: {num} processes", flush=True)
    # On a GPU the little that is computed beside it has as many threads as in one process.
    threads = max(1, torch.get_num_threads() // num) if device.type == "cpu" else None
    with pools.opened(num, functools.partial(open_here, params), threads) as pool:
        yield pool


def open_here(params: Params, number: int) -> None:
    """Open what a process that helps judges with, on the GPU of its number."""
    import torch

    from dcgan.judging import evaluation, reference
    from dcgan.networks import devices

    device = devices.opened(params.training.device)
    if device.type == "cuda":
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    real = reference.Reference.open(REFERENCE, params.seed, device)
    evaluation.open_here(evaluation.Bench(real, params.evaluate.num_samples))


if __name__ == "__main__":
    cli.run(main)

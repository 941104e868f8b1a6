"""The evaluate stage: every checkpoint judged, the best one chosen on validation and reported on test."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.config import keys, reading, sections
from pipeline import cli

if TYPE_CHECKING:
    from dcgan.tracking.runs import Run

PREPARED, REFERENCE, RESULTS = (
    Path("data/prepared"),
    Path("results/reference"),
    Path("results/evaluate"),
)
MODELS, CHECKPOINTS = Path("models"), Path("models/checkpoints")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    evaluate: sections.Evaluate


def main() -> None:
    """Judge every checkpoint and export the best one: python -m pipeline.evaluate."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.judging import evaluation
    from dcgan.judging import extractor as features
    from dcgan.judging.comparison import Real
    from dcgan.pictures import plots
    from dcgan.progress import Bar
    from dcgan.reports import run_page
    from dcgan.tracking import runs

    about = files.read_json(Path("results/train/run.json"))
    reference = files.read_json(REFERENCE / "metrics.json")
    extractor = features.load(REFERENCE / "extractor")
    judge = evaluation.Judge(extractor, params.evaluate.num_samples, params.seed)
    folders = evaluation.epochs(CHECKPOINTS)
    found = {
        name: features.load_features(REFERENCE / f"features/{name}.npy", extractor.sha256)
        for name in data.SPLITS
    }
    shares = {
        name: files.read_json(REFERENCE / f"features/{name}.json")["class_shares"]
        for name in data.SPLITS
    }
    validation, test = (
        Real.of(found[name], shares[name], params.seed) for name in ("validation", "test")
    )
    rows: list[dict[str, float]] = []
    name = f"fid_{evaluation.count_name(judge.num_samples)}"
    # In MLflow a figure carries its extractor in its name: those of another one are no continuation
    # of its curve.
    section = f"{extractor.name}-{extractor.sha256[:8]}"
    tags = {"extractor_sha256": extractor.sha256}
    with (
        runs.open_run(about["fingerprint"], dataset=about["dataset"], tags=tags) as run,
        Bar("evaluate", unit="checkpoints") as bar,
    ):
        for folder in folders:
            rows.append(row := judge.judge(folder, validation))
            shown = {
                key: value for key, value in row.items() if not key.startswith(("class_", "epoch"))
            }
            run.log_rows(
                [
                    {
                        "step": row["epoch"],
                        **{f"{section}/validation/{key}": value for key, value in shown.items()},
                    }
                ]
            )
            bar.say(
                f"epoch {row['epoch']}: FID {row['fid_raw']:.2f} raw, {row['fid_ema']:.2f} EMA, on validation"
            )
            for which in evaluation.collapsed(row):
                bar.say(
                    f"epoch {row['epoch']}: {which} weights have collapsed: as varied as {row[f'vendi_{which}']:.1f} images"
                )
            bar.update(len(rows), len(folders))
        index, weights = evaluation.choose(rows)
        export_chosen(folders[index], evaluation.WEIGHTS[weights])
        report = judge.report(MODELS / "generator.safetensors", test, found["train"])
        metrics: dict[str, Any] = {
            **report.figures,
            # The name that tracking gives the run: the column of `dvc exp show` that leads to
            # MLflow.
            "mlflow_run": f"{about['dataset']}-{about['fingerprint'][:8]}{about['fingerprint'][16:]}",
            "epoch": rows[index]["epoch"],
            "weights": weights,
            "validation": judge.named({"fid": rows[index][f"fid_{weights}"]}),
            "last_epoch_validation": {which: judge.named({"fid": rows[-1][f"fid_{which}"]}) for which in evaluation.WEIGHTS},
            "collapsed_epochs": [row["epoch"] for row in rows if evaluation.collapsed(row)],
            "floor": reference["floor"],
            "ceiling": reference["ceiling"],
            "protocol": {
                **extractor.description(), "real_images": len(test.features), "generated_images": judge.num_samples,
                "draws": evaluation.DRAWS, "chosen_on": "validation", "reported_on": "test",
                "rule": "lowest validation FID of all epochs, raw and EMA", "seed": params.seed,
            },
        }  # fmt: skip
        files.write_json(RESULTS / "metrics.json", metrics)
        files.write_csv(RESULTS / "by_epoch.csv", rows)
        real = {
            "fid": reference["floor"]["fid_validation"],
            "vendi": validation.diversity.real_score,
        }
        plots.by_epoch(rows, real, index, weights, RESULTS / "by_epoch.png")
        train = data.open_split(PREPARED, "train").images[report.nearest]
        plots.pairs(
            report.generated, train, ("generated", "nearest in train"), RESULTS / "nearest.png"
        )
        numbers = {
            key: value
            for key, value in keys.flatten(metrics).items()
            if isinstance(value, int | float)
        }
        run.log_metrics({f"{section}/{key}": value for key, value in numbers.items()})
        run.describe(run_page.describe(about, metrics))
        run.log_folder(RESULTS, "evaluate")
        log_model(run, about, metrics)
        noise = metrics["noise"][name]
        bar.say(
            f"evaluate: epoch {metrics['epoch']}, {weights} weights: FID {metrics[name]:.2f} +- {noise:.2f} on test"
        )


def log_model(run: "Run", about: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Log the exports as a folder that MLflow loads, serves and registers, with its card; it is no output of the stage."""
    from dcgan import data
    from dcgan.promotion import serving
    from dcgan.reports import model_card

    settings = reading.load(sections.AllParams).model_dump(include=set(model_card.SETTINGS))
    card = model_card.write(about, settings, data.read_manifest(PREPARED), metrics)
    with tempfile.TemporaryDirectory() as folder:
        model = serving.write_model(Path(folder, "model"), MODELS, card)
        run.log_folder(model, "model")
        run.set_tags(serving.tags(model, "model"))


def export_chosen(folder: Path, generator: str) -> None:
    """Copy the chosen epoch's networks, weights and description, to models/."""
    from dcgan import files

    for source, target in (
        (generator, "generator"),
        ("discriminator.safetensors", "discriminator"),
    ):
        for suffix in (".safetensors", ".json"):
            with files.replacing(MODELS / f"{target}{suffix}") as temporary:
                shutil.copyfile((folder / source).with_suffix(suffix), temporary)


if __name__ == "__main__":
    cli.run(main)

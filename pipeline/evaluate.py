"""The evaluate stage: every checkpoint judged, the best one chosen on validation and reported on test."""

import shutil
from pathlib import Path
from typing import Any

from pipeline import cli

PARAMS = ("seed", "evaluate")
REFERENCE, RESULTS = Path("results/reference"), Path("results/evaluate")
MODELS, CHECKPOINTS = Path("models"), Path("models/checkpoints")


def main() -> None:
    """Judge every checkpoint and export the best one: python -m pipeline.evaluate."""
    from dcgan import config

    params = config.load(*PARAMS)
    from dcgan import data, evaluation, features, files, plots, tracking
    from dcgan.progress import Bar

    about = files.read_json(Path("results/train/run.json"))
    classes = data.read_manifest(Path("data/prepared"))["classes"]
    classifier, extractor = features.load_classifier(REFERENCE / "classifier.safetensors")
    reference = files.read_json(REFERENCE / "metrics.json")
    judge = evaluation.Judge(classifier, len(classes), params.evaluate.num_samples, params.seed)
    folders = evaluation.epochs(CHECKPOINTS)
    rows: list[dict[str, float]] = []
    tags = {"extractor_sha256": extractor["sha256"]}
    with tracking.run(about["fingerprint"], dataset=about["dataset"], tags=tags) as run, Bar("evaluate", unit="checkpoints") as bar:
        real = features.load_features(REFERENCE / "validation.features.npy")
        for folder in folders:
            rows.append(row := judge.judge(folder, real))
            run.log_rows([{"step": row["epoch"], **{f"validation_{key}": value for key, value in row.items() if key != "epoch"}}])
            bar.say(f"epoch {row['epoch']}: FID {row['fid_raw']:.2f} raw, {row['fid_ema']:.2f} EMA, on validation")
            bar.update(len(rows), len(folders))
        index, weights = evaluation.choose(rows)
        chosen = folders[index]
        export_chosen(chosen, evaluation.WEIGHTS[weights])
        name = f"fid_{evaluation.count_name(judge.num_samples)}"
        metrics: dict[str, Any] = {
            **judge.report(MODELS / "generator.safetensors", features.load_features(REFERENCE / "test.features.npy")),
            "epoch": rows[index]["epoch"],
            "weights": weights,
            "validation": {name: rows[index][f"fid_{weights}"]},
            "last_epoch_validation": {f"{name}_{which}": rows[-1][f"fid_{which}"] for which in evaluation.WEIGHTS},
            "floor": reference["floor"],
            "ceiling": reference["ceiling"],
            "protocol": {
                "extractor": "classifier", "extractor_sha256": extractor["sha256"], "resize": "none",
                "real_images": len(features.load_features(REFERENCE / "test.features.npy")), "generated_images": judge.num_samples,
                "chosen_on": "validation", "reported_on": "test", "rule": "lowest validation FID of all epochs, raw and EMA",
                "seed": params.seed,
            },
        }  # fmt: skip
        files.write_json(RESULTS / "metrics.json", metrics)
        files.write_csv(RESULTS / "by_epoch.csv", rows)
        plots.by_epoch(rows, reference["floor"]["fid"], index, weights, RESULTS / "by_epoch.png")
        run.log_metrics({key: value for key, value in tracking.flatten(metrics).items() if isinstance(value, int | float)})
        run.log_folder(RESULTS, "evaluate")
        for network in ("generator", "discriminator"):
            run.log_model(MODELS / f"{network}.safetensors")
        floor = reference["floor"]["fid"]
        bar.say(f"evaluate: epoch {metrics['epoch']}, {weights} weights: FID {metrics[name]:.2f} on test, floor {floor:.3f}")


def export_chosen(folder: Path, generator: str) -> None:
    """Copy the chosen epoch's networks, weights and description, to models/."""
    from dcgan import files

    for source, target in ((generator, "generator"), ("discriminator.safetensors", "discriminator")):
        for suffix in (".safetensors", ".json"):
            with files.replacing(MODELS / f"{target}{suffix}") as temporary:
                shutil.copyfile((folder / source).with_suffix(suffix), temporary)


if __name__ == "__main__":
    cli.run(main)

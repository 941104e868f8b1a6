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
    from dcgan import data, evaluation, features, files, plots, provenance, tracking
    from dcgan.progress import Bar

    about = files.read_json(Path("results/train/run.json"))
    classes = data.read_manifest(Path("data/prepared"))["classes"]
    classifier, extractor = features.load_classifier(REFERENCE / "classifier.safetensors")
    reference = files.read_json(REFERENCE / "metrics.json")
    counted = len(classes) if extractor["extractor"] == "classifier" else 0
    judge = evaluation.Judge(classifier, counted, params.evaluate.num_samples, params.seed)
    folders = evaluation.epochs(CHECKPOINTS)
    real = {split: features.load_features(REFERENCE / f"{split}.features.npy") for split in ("validation", "test")}
    rows: list[dict[str, float]] = []
    tags = {"extractor_sha256": extractor["sha256"]}
    with tracking.run(about["fingerprint"], dataset=about["dataset"], tags=tags) as run, Bar("evaluate", unit="checkpoints") as bar:
        for folder in folders:
            rows.append(row := judge.judge(folder, real["validation"]))
            shown = {f"validation/{key}": value for key, value in row.items() if key.startswith(("fid", "kid"))}
            run.log_rows([{"step": row["epoch"], **shown}])
            bar.say(f"epoch {row['epoch']}: FID {row['fid_raw']:.2f} raw, {row['fid_ema']:.2f} EMA, on validation")
            bar.update(len(rows), len(folders))
        index, weights = evaluation.choose(rows)
        chosen = folders[index]
        export_chosen(chosen, evaluation.WEIGHTS[weights])
        name = f"fid_{evaluation.count_name(judge.num_samples)}"
        metrics: dict[str, Any] = {
            **judge.report(MODELS / "generator.safetensors", real["test"]),
            "epoch": rows[index]["epoch"],
            "weights": weights,
            "validation": {name: rows[index][f"fid_{weights}"]},
            "last_epoch_validation": {f"{name}_{which}": rows[-1][f"fid_{which}"] for which in evaluation.WEIGHTS},
            "floor": reference["floor"],
            "ceiling": reference["ceiling"],
            "protocol": {
                "extractor": extractor["extractor"], "extractor_sha256": extractor["sha256"], "resize": "none",
                "real_images": len(real["test"]), "generated_images": judge.num_samples,
                "chosen_on": "validation", "reported_on": "test", "rule": "lowest validation FID of all epochs, raw and EMA",
                "seed": params.seed,
            },
        }  # fmt: skip
        files.write_json(RESULTS / "metrics.json", metrics)
        files.write_csv(RESULTS / "by_epoch.csv", rows)
        plots.by_epoch(rows, reference["floor"]["fid_validation"], index, weights, RESULTS / "by_epoch.png")
        run.log_metrics({key: value for key, value in provenance.flatten(metrics).items() if isinstance(value, int | float)})
        run.describe(description(about, metrics, name))
        run.log_folder(RESULTS, "evaluate")
        for network in ("generator", "discriminator"):
            run.log_model(MODELS / f"{network}.safetensors")
        floor = reference["floor"]["fid"]
        bar.say(f"evaluate: epoch {metrics['epoch']}, {weights} weights: FID {metrics[name]:.2f} on test, floor {floor:.3f}")


def description(about: dict[str, Any], metrics: dict[str, Any], name: str) -> str:
    """What stands at the head of the run's page: what was trained, how good it is, by which protocol."""
    protocol = metrics["protocol"]
    smallest = f", smallest class {100 * metrics['smallest_class_share']:.1f} %" if "smallest_class_share" in metrics else ""
    return f"""A DCGAN on **{about["dataset"]}**, {about["epochs"]} epochs, seed {about["seed"]}; epoch {metrics["epoch"]}, \
{metrics["weights"]} weights, was chosen by the lowest FID on validation images and measured once on test images.

| | {name} | KID |
|---|---|---|
| this model, test | {metrics[name]:.3f} | {metrics[name.replace("fid", "kid")]:.5f} |
| floor: real train images | {metrics["floor"]["fid"]:.3f} | {metrics["floor"]["kid"]:.5f} |
| ceiling: noise | {metrics["ceiling"]["fid"]:.1f} | {metrics["ceiling"]["kid"]:.3f} |

Precision {metrics["precision"]:.3f}, recall {metrics["recall"]:.3f}{smallest}.

{protocol["generated_images"]} generated against {protocol["real_images"]} real images, extractor `{protocol["extractor"]}` \
`{protocol["extractor_sha256"][:16]}`. Pictures are in the Artifacts, under `render`, and by epoch under Model metrics.

Remake it: `git checkout COMMIT && make repro`, with the commit in the tags and the values in the parameters."""


def export_chosen(folder: Path, generator: str) -> None:
    """Copy the chosen epoch's networks, weights and description, to models/."""
    from dcgan import files

    for source, target in ((generator, "generator"), ("discriminator.safetensors", "discriminator")):
        for suffix in (".safetensors", ".json"):
            with files.replacing(MODELS / f"{target}{suffix}") as temporary:
                shutil.copyfile((folder / source).with_suffix(suffix), temporary)


if __name__ == "__main__":
    cli.run(main)

"""The probe stage: how much a linear classifier can read from the discriminator's features."""

from pathlib import Path
from typing import Any

from pipeline import cli

PARAMS = ("seed", "probe")
PREPARED, RESULTS = Path("data/prepared"), Path("results/probe")


def main() -> None:
    """Fit the L2-SVM on D's features, on an untrained D's and on raw pixels: python -m pipeline.probe."""
    from dcgan import config

    params = config.load(*PARAMS)
    from dcgan import checkpoint, data, files, plots, probe, provenance, tracking

    about = files.read_json(Path("results/train/run.json"))
    classes = data.read_manifest(PREPARED)["classes"]
    if not classes:
        reason = f"{about['dataset']} has no labels: nothing to probe"
        files.write_json(RESULTS / "metrics.json", {"skipped": reason})
        plots.note(reason, RESULTS / "confusion.png")
        print(f"probe: {reason}")
        return
    splits = {name: data.open_split(PREPARED, name, verify=True) for name in data.SPLITS}
    labels = {name: split.labels for name, split in splits.items()}
    labels["train"] = labels["train"][: params.probe.num_train]
    discriminator, export = checkpoint.load_discriminator(Path("models/discriminator.safetensors"))
    networks = {"discriminator": discriminator, "untrained": checkpoint.untrained(discriminator, params.seed), "pixels": None}
    metrics: dict[str, Any] = {
        "protocol": {
            "features": "every convolution of D after its activation, max-pooled to 4 x 4, concatenated",
            "classifier": "L2-SVM, one against the rest", "chosen_on": "validation", "reported_on": "test",
            "train_images": len(labels["train"]), "epoch": export["epoch"], "seed": params.seed,
        },
    }  # fmt: skip
    for name, network in networks.items():
        features = {
            split: probe.extract(network, splits[split].images[: len(labels[split])]) for split in data.SPLITS
        }  # fmt: skip
        result = probe.choose_and_report(features, labels, params.probe.c, len(classes))
        metrics[name] = result.figures
        print(f"probe: {name}: {100 * result.figures['test_accuracy']:.2f} % on test, C = {result.figures['c']}", flush=True)
        if name == "discriminator":
            title = f"L2-SVM on D's features: {100 * result.figures['test_accuracy']:.2f} % on test"
            plots.confusion(result.confusion, classes, title, RESULTS / "confusion.png")
    files.write_json(RESULTS / "metrics.json", metrics)
    with tracking.run(about["fingerprint"], dataset=about["dataset"]) as run:
        figures = provenance.flatten(metrics).items()
        run.log_metrics({f"probe.{key}": value for key, value in figures if isinstance(value, int | float)})
        run.log_folder(RESULTS, "probe")


if __name__ == "__main__":
    cli.run(main)

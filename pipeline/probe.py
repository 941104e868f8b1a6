"""The probe stage: how much a linear classifier can read from the discriminator's features."""

from pathlib import Path
from typing import Any

from dcgan.config import keys, reading, sections
from pipeline import cli

PREPARED, RESULTS = Path("data/prepared"), Path("results/probe")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    probe: sections.Probe


def main() -> None:
    """Fit the L2-SVM on D's features, on an untrained D's and on raw pixels: python -m pipeline.probe."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.networks import exports
    from dcgan.pictures import plots
    from dcgan.probing import probe
    from dcgan.tracking import runs

    about = files.read_json(Path("results/train/run.json"))
    classes = data.read_manifest(PREPARED)["classes"]
    if not classes:
        reason = f"{about['dataset']} has no labels: nothing to probe"
        files.write_json(RESULTS / "metrics.json", {"skipped": reason})
        plots.note(reason, RESULTS / "confusion.png")
        print(f"probe: {reason}")
        return
    reference = files.read_json(Path("results/reference/metrics.json"))
    splits = {name: data.open_split(PREPARED, name, verify=True) for name in data.SPLITS}
    discriminator, export = exports.load_discriminator(Path("models/discriminator.safetensors"))
    networks = {
        "discriminator": discriminator,
        "untrained": exports.untrained(discriminator, params.seed),
        "pixels": None,
    }
    precision = probe.choose_precision(about["precision"])
    metrics: dict[str, Any] = {
        "protocol": {
            **probe.protocol(params.probe, precision),
            "epoch": export["epoch"],
            "seed": params.seed,
        }
    }
    for name, network in networks.items():
        report = probe.judge(network, splits, params.probe, len(classes), params.seed, precision)
        metrics[name] = report.figures
        print(f"probe: {name}: {report.title}", flush=True)
        if name == "discriminator":
            plots.confusion(
                report.confusion,
                classes,
                f"L2-SVM on D's features: {report.title}",
                RESULTS / "confusion.png",
            )
    metrics["classifier"] = probe.supervised(
        splits, params.probe, len(classes), params.seed, reference
    )
    files.write_json(RESULTS / "metrics.json", metrics)
    with runs.open_run(about["fingerprint"], dataset=about["dataset"]) as run:
        figures = keys.flatten(metrics).items()
        run.log_metrics(
            {f"probe.{key}": value for key, value in figures if isinstance(value, int | float)}
        )
        run.log_folder(RESULTS, "probe")


if __name__ == "__main__":
    cli.run(main)

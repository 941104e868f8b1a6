"""The probe stage: how much a linear classifier can read from the discriminator's features."""

from pathlib import Path

from dcgan.config import reading, sections, trained
from pipeline import cli

PREPARED, RESULTS = Path("data/prepared"), Path("results/probe")
# What DVC shows of metrics.json: with many labels the accuracy, with few the error of the draws.
SHOWN = tuple(
    f"{features}.{figure}"
    for features in ("discriminator", "untrained", "pixels")
    for figure in ("test_accuracy", "test_error")
)


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    probe: sections.Probe
    training: sections.OnDevice


def main() -> None:
    """Fit an L2-SVM on D's features, an untrained D's and the pixels: python -m pipeline.probe."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.networks import devices, exports, models
    from dcgan.pictures import plots
    from dcgan.probing import probe, svm
    from dcgan.tracking import runs

    training = trained.read()
    classes = data.read_manifest(PREPARED)["classes"]
    if not classes:
        reason = f"{training['dataset']} has no labels: nothing to probe"
        files.write_metrics(RESULTS / "metrics.json", {"skipped": reason})
        plots.note(reason, RESULTS / "confusion.png")
        files.write_text(RESULTS / "confusion.csv", "actual,predicted\n")
        print(f"probe: {reason}")
        return
    splits = {name: data.open_split(PREPARED, name, verify=True) for name in data.SPLITS}
    splits["train"] = data.bank(splits["train"], params.seed)
    discriminator, export = exports.load_discriminator(Path("models/discriminator.safetensors"))
    init = training["settings"]["discriminator"]["init"]
    networks = {
        "discriminator": discriminator,
        "untrained": models.untrained(discriminator.architecture, seed=params.seed, init=init),
        "pixels": None,
    }
    device = devices.opened(params.training.device)
    precision, epoch = probe.choose_precision(training["precision"], device), export["epoch"]
    metrics = {"protocol": probe.protocol(params.probe, precision, device, epoch, params.seed)}
    for name, network in networks.items():
        print(f"probe: {name}: features, then an SVM for each C", flush=True)
        network = network if network is None else network.to(device)
        report = probe.measure(network, splits, params.probe, len(classes), params.seed, precision)
        metrics[name] = report.figures
        print(f"probe: {name}: {report.title}", flush=True)
        if name == "discriminator":
            title = f"L2-SVM on D's features: {report.title}"
            plots.confusion(report.confusion, classes, title, RESULTS / "confusion.png")
            rows = svm.confusion_rows(report.confusion, classes)
            files.write_csv(RESULTS / "confusion.csv", rows)
    real = files.read_metrics(Path("results/reference/metrics.json"))
    metrics["classifier"] = probe.supervised(splits, params.probe, len(classes), params.seed, real)
    files.write_metrics(RESULTS / "metrics.json", metrics, SHOWN)
    with runs.open_run(training["fingerprint"], dataset=training["dataset"]) as run:
        run.log_metrics(
            {
                f"probe.{name}.{figure}": value
                for name, figures in metrics.items()
                if name != "protocol"
                for figure, value in figures.items()
                if figure.startswith(("test_", "validation_"))
            }
        )
        run.log_folder(RESULTS, "probe")


if __name__ == "__main__":
    cli.run(main)

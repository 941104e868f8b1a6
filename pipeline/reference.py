"""The reference stage: the frozen feature extractor, and what it says of the real images."""

from pathlib import Path
from typing import Any

from pipeline import cli

PARAMS = ("seed", "reference")
PREPARED, RESULTS = Path("data/prepared"), Path("results/reference")


def main() -> None:
    """Train the feature extractor and measure the real images: python -m pipeline.reference."""
    from dcgan import config

    params = config.load(*PARAMS)
    import torch

    from dcgan import data, features, fidelity, files, rng

    # Train the extractor.
    manifest = data.read_manifest(PREPARED)
    splits = {name: data.open_split(PREPARED, name, verify=True) for name in data.SPLITS}
    train, test = splits["train"], splits["test"]

    kind = features.choose(params.reference.extractor, manifest["classes"])
    labels = {name: split.labels if kind == "classifier" else None for name, split in splits.items()}

    def report(epoch: int, loss: float, classifier: features.Classifier) -> None:
        accuracy = features.accuracy(classifier, splits["validation"].images, labels["validation"])
        print(f"reference: epoch {epoch}: loss {loss:.3f}, {100 * accuracy:.2f} % on validation", flush=True)

    classifier = features.train_classifier(
        train.images, labels["train"], num_classes=features.num_answers(kind, manifest["classes"]), seed=params.seed,
        on_epoch=report, epochs=params.reference.epochs, lr=params.reference.lr, batch_size=params.reference.batch_size,
    )  # fmt: skip
    accuracy = features.accuracy(classifier, test.images, labels["test"])
    description = {
        "dataset": manifest["dataset"], "image_size": manifest["image_size"], "extractor": kind, "test_accuracy": accuracy,
    }  # fmt: skip
    sha256 = features.save_classifier(RESULTS / "classifier.safetensors", classifier, description)

    # Measure the real images.
    real = {}
    for name in ("validation", "test"):
        real[name], _ = features.extract(classifier, splits[name].images)
        about = {"split": name, "extractor_sha256": sha256}
        features.save_features(RESULTS / f"{name}.features.npy", real[name], about)
        fidelity.statistics(real[name]).save(RESULTS / f"{name}.statistics.safetensors", about)

    # Floor and ceiling; as many images as test has, because FID depends on the count.
    noise = torch.randint(256, test.images.shape, dtype=torch.uint8, generator=rng.generator(params.seed, "noise"))
    some = torch.randperm(len(train.images), generator=rng.generator(params.seed, "floor"))[: len(test.images)].numpy()
    ceiling, _ = features.extract(classifier, noise.numpy())
    floor, _ = features.extract(classifier, train.images[some])
    validation = fidelity.compare(real["validation"], floor, params.seed)
    metrics: dict[str, Any] = {
        "test_accuracy": accuracy, "extractor": kind, "extractor_sha256": sha256, "num_images": len(test.images),
        "floor": {**fidelity.compare(real["test"], floor, params.seed), "fid_validation": validation["fid"]},
        "ceiling": fidelity.compare(real["test"], ceiling, params.seed),
    }  # fmt: skip
    files.write_json(RESULTS / "metrics.json", metrics)
    fids = f"FID {metrics['floor']['fid']:.4f} real, {metrics['ceiling']['fid']:.1f} noise"
    print(f"reference: {kind} {100 * accuracy:.2f} % on test; {fids}")


if __name__ == "__main__":
    cli.run(main)

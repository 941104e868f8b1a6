"""The reference stage: the frozen feature extractor, and what it says of real images and of noise."""

from pathlib import Path

from pipeline import cli

PARAMS = ("seed", "reference")
PREPARED, RESULTS = Path("data/prepared"), Path("results/reference")


def main() -> None:
    """Train the feature extractor and measure the real images: python -m pipeline.reference."""
    from dcgan import config

    params = config.load(*PARAMS)
    import numpy as np
    import torch

    from dcgan import data, features, fidelity, files, rng

    manifest = data.read_manifest(PREPARED)
    train, validation, test = (data.open_split(PREPARED, name, verify=True) for name in ("train", "validation", "test"))
    classifier = features.train_classifier(
        train.images,
        train.labels,
        num_classes=len(manifest["classes"]),
        seed=params.seed,
        epochs=params.reference.epochs,
        lr=params.reference.lr,
        batch_size=params.reference.batch_size,
        on_epoch=lambda epoch, loss, _: print(f"reference: epoch {epoch}/{params.reference.epochs}: loss {loss:.3f}", flush=True),
    )
    accuracy = features.accuracy(classifier, test.images, test.labels)
    about = {"dataset": manifest["dataset"], "image_size": manifest["image_size"], "test_accuracy": accuracy}
    sha256 = features.save_classifier(RESULTS / "classifier.safetensors", classifier, about)

    # Real images, and noise of the same number and shape.
    noise = torch.randint(256, test.images.shape, dtype=torch.uint8, generator=rng.generator(params.seed, "noise")).numpy()
    some = np.sort(rng.epoch_order(len(train.images), params.seed, epoch=0)[: len(test.images)].numpy())
    images = {"train": train.images[some], "validation": validation.images, "test": test.images, "noise": noise}
    found = {name: features.extract(classifier, these)[0] for name, these in images.items()}
    files.write_tensors(RESULTS / "real.safetensors", {name: torch.from_numpy(found[name]) for name in ("validation", "test")}, {})
    statistics = {name: fidelity.statistics(values) for name, values in found.items()}
    for name in ("validation", "test"):
        statistics[name].save(RESULTS / f"{name}.statistics.safetensors", {"extractor_sha256": sha256, "split": name})
    metrics = {"classifier": {"test_accuracy": accuracy, "sha256": sha256}}
    for name, compared in (("floor", "train"), ("ceiling", "noise")):
        metrics[name] = {
            "fid": fidelity.fid(statistics[compared], statistics["test"]),
            "fid_validation": fidelity.fid(statistics[compared], statistics["validation"]),
            "kid": fidelity.kid(found["test"], found[compared], params.seed)[0],
        }
    files.write_json(RESULTS / "metrics.json", metrics)
    floor, ceiling = metrics["floor"]["fid"], metrics["ceiling"]["fid"]
    print(f"reference: {100 * accuracy:.2f} % on test; FID of real train images {floor:.4f}, of noise {ceiling:.1f}")


if __name__ == "__main__":
    cli.run(main)

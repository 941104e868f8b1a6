"""The reference stage: the frozen feature extractor, and what it says of the real images."""

import functools
import os
from pathlib import Path
from typing import Any

from dcgan.config import reading, sections
from pipeline import cli

PREPARED, RESULTS = Path("data/prepared"), Path("results/reference")
EXTRACTOR = RESULTS / "extractor"


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    reference: sections.Reference


def main() -> None:
    """Make the feature extractor and measure the real images: python -m pipeline.reference."""
    params = reading.load(Params)
    import torch

    from dcgan import data, files, rng
    from dcgan.judging import extractor as features
    from dcgan.judging import inception
    from dcgan.judging.comparison import Real
    from dcgan.progress import Bar
    from dcgan.raw import weights

    # Make the extractor.
    manifest = data.read_manifest(PREPARED)
    splits = {name: data.open_split(PREPARED, name, verify=True) for name in data.SPLITS}
    kinds = features.networks(
        features.choose(params.reference.extractor, manifest["classes"]), manifest["classes"]
    )
    accuracies = {}
    for kind in kinds:
        if kind == "inception":
            kept = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "weights"
            fetched = weights.fetch_inception(
                params.reference.weights, params.reference.weights_sha256, kept
            )
            inception.convert(*fetched, EXTRACTOR / "inception.safetensors")
        else:
            settings = params.reference.model_dump(include={"epochs", "lr", "batch_size"})
            accuracies[kind] = features.train(
                EXTRACTOR,
                kind,
                splits,
                manifest,
                seed=params.seed,
                on_epoch=functools.partial(report, kind),
                **settings,
            )
    features.finish(EXTRACTOR, kinds)
    extractor = features.load(EXTRACTOR)

    # Measure the real images.
    found, verdicts, shares = {}, {}, {}
    for name, split in splits.items():
        with Bar(f"reference: {name}", unit="images") as bar:
            found[name], verdicts[name] = extractor.extract(split.images, bar.update)
        shares[name] = features.class_shares(verdicts[name], extractor.num_classes)
        about = {"split": name, "class_shares": shares[name], **extractor.description()}
        features.save_features(RESULTS / "features" / f"{name}.npy", found[name], about)

    # Floor and ceiling; as many images as test has, because FID depends on the count.
    count = len(found["test"])
    some = torch.randperm(len(found["train"]), generator=rng.generator(params.seed, "floor"))[
        :count
    ].numpy()
    noise = torch.randint(
        256,
        splits["test"].images.shape,
        dtype=torch.uint8,
        generator=rng.generator(params.seed, "noise"),
    )
    validation, test = (
        Real.of(found[name], shares[name], params.seed) for name in ("validation", "test")
    )
    floor = test.all(
        found["train"][some], None if verdicts["train"] is None else verdicts["train"][some]
    )
    closest = validation.cheap(found["train"][some], None)
    metrics: dict[str, Any] = {
        **extractor.description(), "num_images": count,
        "floor": {**floor, "fid_validation": closest["fid"]},
        "ceiling": test.all(*extractor.extract(noise.numpy())),
    }  # fmt: skip
    if accuracies:
        metrics["test_accuracy"] = accuracies.get("classifier", accuracies.get("rotation"))
    files.write_json(RESULTS / "metrics.json", metrics)
    shown = "".join(
        f"{kind} {100 * accuracy:.2f} % on test; " for kind, accuracy in accuracies.items()
    )
    fids = f"FID {metrics['floor']['fid']:.4f} real, {metrics['ceiling']['fid']:.1f} noise"
    print(f"reference: {shown}{extractor.name} features: {fids}")


def report(kind: str, epoch: int, loss: float, accuracy: float) -> None:
    """Say how a network comes on."""
    print(
        f"reference: {kind}: epoch {epoch}: loss {loss:.3f}, {100 * accuracy:.2f} % on validation",
        flush=True,
    )


if __name__ == "__main__":
    cli.run(main)

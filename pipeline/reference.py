"""The reference stage: the frozen feature extractor, and what it says of the real images."""

import functools
from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli

PREPARED, RESULTS = Path("data/prepared"), Path("results/reference")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    reference: sections.Reference
    training: sections.OnDevice


def main() -> None:
    """Make the feature extractor and measure the real images: python -m pipeline.reference."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.judging import extractor, inception, reference
    from dcgan.networks import devices
    from dcgan.progress import Bar
    from dcgan.raw import weights

    manifest, chosen, folder = data.read_manifest(PREPARED), params.reference, RESULTS / "extractor"
    splits = {name: data.open_split(PREPARED, name, verify=True) for name in data.SPLITS}
    splits["train"] = data.bank(splits["train"], params.seed)
    extractor.check_counts(splits)
    device = devices.opened(params.training.device)
    kinds, trained = extractor.networks(chosen.extractor, manifest["classes"]), {}
    for kind in kinds:
        if kind == "inception":
            kept = files.scratch("weights")
            found = weights.fetch_inception(chosen.weights, chosen.weights_sha256, kept)
            inception.convert(*found, folder / "inception.safetensors")
        else:
            trained[kind] = extractor.train(
                folder, kind, splits, manifest, seed=params.seed, epochs=chosen.epochs,
                lr=chosen.lr, batch_size=chosen.batch_size, flip=chosen.flip, device=device,
                on_epoch=functools.partial(say, kind),
            )  # fmt: skip
    extractor.finish(folder, kinds)
    opened, samples = reference.Reference.open(RESULTS, params.seed, device), {}
    for name, split in splits.items():
        with Bar(f"reference: {name}", unit="images") as bar:
            samples[name] = opened.extractor.extract(split.images, bar.update)
    metrics = opened.write(samples, splits, trained)
    print("\n".join(f"reference: {line}" for line in reference.summary(metrics, trained)))


def say(kind: str, epoch: int, loss: float, accuracy: float) -> None:
    """Print how far the training of a network is."""
    line = f"{kind}: epoch {epoch}: loss {loss:.3f}, {100 * accuracy:.2f} % on validation"
    print(f"reference: {line}", flush=True)


if __name__ == "__main__":
    cli.run(main)

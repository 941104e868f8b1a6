"""Prepare the images: arrays for train, validation and test, their manifest, and a grid to look at."""

from pathlib import Path

from dcgan import config
from pipeline import cli

PARAMS = ("dataset", "seed")
RAW, PREPARED = Path("data/raw"), Path("data/prepared")
GRID = Path("results/prepare/real.png")


def main() -> None:
    """Split, resize and store the images of data/raw in data/prepared. Example: python -m pipeline.prepare."""
    params = config.load(*PARAMS)
    dataset = params.dataset

    import torch

    from dcgan import data, rng

    manifest = data.prepare(
        RAW,
        PREPARED,
        name=dataset.name,
        image_size=dataset.image_size,
        validation_size=dataset.validation_size,
        seed=params.seed,
    )
    images = data.open_split(PREPARED, "train").images
    chosen = torch.randperm(len(images), generator=rng.generator(params.seed, "real grid"))[:25]
    data.save_png(GRID, data.tile(images[chosen.numpy()], columns=5))
    for split, counts in manifest["splits"].items():
        print(f"prepare: {split}: {counts['count']} images, per class {counts['per_class']}")
    print(f"prepare: data sha256 {data.data_sha256(manifest)}; 25 real images in {GRID}")


if __name__ == "__main__":
    cli.run(main)

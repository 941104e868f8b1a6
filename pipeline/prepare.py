"""Prepare the images: arrays for train, validation and test, a manifest, a report, pictures."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcgan.config import reading, sections
from pipeline import cli

RAW, PREPARED, RESULTS = Path("data/raw"), Path("data/prepared"), Path("results/prepare")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    dataset: sections.Dataset


def main() -> None:
    """Decode, split and store the images of data/raw in data/prepared.

    Example: python -m pipeline.prepare.
    """
    params = reading.load(Params)

    from dcgan import data, files, progress, rng
    from dcgan.pictures import grids
    from dcgan.preparing import preparation
    from dcgan.raw import records

    raw = records.open_raw(RAW, params.dataset, params.seed)
    with progress.Bar("prepare", unit="images") as bar:
        report, dropped = preparation.prepare(
            raw, PREPARED, resume_folder(params), params.dataset, params.seed, bar.update
        )
    files.write_json(RESULTS / "report.json", report)
    grids.save_png(RESULTS / "duplicates.png", grids.shown(dropped))
    images = data.open_split(PREPARED, "train").images
    chosen = rng.choose(len(images), 25, params.seed, "real grid")
    grid = grids.tile(images[chosen.numpy()], columns=5)
    grids.save_png(RESULTS / "real.png", grids.shown(grid))
    manifest = data.read_manifest(PREPARED)
    for line in [*report["notes"], *counts(manifest["splits"], params.dataset)]:
        print(f"prepare: {line}")
    copies = report["duplicates"]
    print(
        f"prepare: left out: {report['bad']} unreadable,"
        f" {copies['exact']} exact and {copies['near']} near duplicates"
    )
    print(
        f"prepare: data sha256 {data.data_sha256(manifest)};"
        f" 25 real images in {RESULTS / 'real.png'}"
    )


def counts(splits: dict[str, Any], dataset: sections.Dataset) -> Iterator[str]:
    """A line for each split: how many images, of a class, and how many were asked for."""
    wanted = {"validation": dataset.validation_size, "test": dataset.test_size}
    for split, held in splits.items():
        fewest, most = min(held["per_class"]), max(held["per_class"])
        each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        classes = f", per class {each}" if len(held["per_class"]) > 1 else ""
        asked = wanted.get(split, 0)
        rough = f"; about {asked} asked for" if asked and asked != held["count"] else ""
        yield f"{split}: {held['count']} images{classes}{rough}"


def resume_folder(params: Params) -> Path:
    """The folder from which a killed run continues.

    Its name is a hash of the raw data, of the parameters and of the code that decodes.
    """
    from dcgan import files
    from dcgan.preparing import decode
    from dcgan.raw import dataset, folder, layout

    # Without what is decided after decoding, so that skip continues where refuse stopped.
    decided_later = {"on_bad_image", "duplicates", "near_bits", "title"}
    parts = [
        (RAW / "manifest.json").read_bytes(),
        params.dataset.model_dump_json(exclude=decided_later).encode(),
        str(params.seed).encode(),
        *(Path(str(module.__file__)).read_bytes() for module in (decode, dataset, folder, layout)),
    ]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return files.scratch(f"prepare-{hashlib.sha256(digests).hexdigest()[:16]}")


if __name__ == "__main__":
    cli.run(main)

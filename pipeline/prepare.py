"""Prepare the images: arrays for train, validation and test, their manifest, a report, and pictures to look at."""

import hashlib
import os
from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli

RAW, PREPARED, RESULTS = Path("data/raw"), Path("data/prepared"), Path("results/prepare")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    dataset: sections.Dataset


def main() -> None:
    """Decode, split and store the images of data/raw in data/prepared. Example: python -m pipeline.prepare."""
    params = reading.load(Params)

    import torch

    from dcgan import data, files, progress, rng
    from dcgan.pictures import grids
    from dcgan.preparing import preparation
    from dcgan.raw import records

    raw = records.open_raw(RAW, params.dataset, params.seed)
    with progress.Bar("prepare", unit="images") as bar:
        report, dropped = preparation.prepare(
            raw, PREPARED, scratch(params), params.dataset, params.seed, bar.update
        )
    files.write_json(RESULTS / "report.json", report)
    grids.save_png(RESULTS / "duplicates.png", dropped)
    images = data.open_split(PREPARED, "train").images
    chosen = torch.randperm(len(images), generator=rng.generator(params.seed, "real grid"))[:25]
    grids.save_png(RESULTS / "real.png", grids.tile(images[chosen.numpy()], columns=5))
    manifest = data.read_manifest(PREPARED)
    for split, counts in manifest["splits"].items():
        print(f"prepare: {split}: {counts['count']} images, per class {counts['per_class']}")
    copies = report["duplicates"]
    print(
        f"prepare: left out: {report['bad']} unreadable, {copies['exact']} exact and {copies['near']} near duplicates"
    )
    print(
        f"prepare: data sha256 {data.data_sha256(manifest)}; 25 real images in {RESULTS / 'real.png'}"
    )


def scratch(params: Params) -> Path:
    """The folder in which a killed run goes on: named after the raw data, the parameters and the code that decodes."""
    from dcgan.preparing import decode

    # Without what is decided after decoding, so that skip goes on where refuse stopped.
    dataset = params.dataset.model_dump_json(exclude={"on_bad_image", "duplicates", "near_bits"})
    parts = [(RAW / "manifest.json").read_bytes(), dataset.encode(), str(params.seed).encode()]
    parts.append(Path(decode.__file__).read_bytes())
    fingerprint = hashlib.sha256(
        b"".join(hashlib.sha256(part).digest() for part in parts)
    ).hexdigest()
    return Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / f"prepare-{fingerprint[:16]}"


if __name__ == "__main__":
    cli.run(main)

"""Prepare the images: arrays for train, validation and test, a manifest, a report, pictures."""

import hashlib
from pathlib import Path

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
    grids.save_png(RESULTS / "duplicates.png", dropped)
    images = data.open_split(PREPARED, "train").images
    chosen = rng.choose(len(images), 25, params.seed, "real grid")
    grids.save_png(RESULTS / "real.png", grids.tile(images[chosen.numpy()], columns=5))
    manifest = data.read_manifest(PREPARED)
    for split, counts in manifest["splits"].items():
        print(f"prepare: {split}: {counts['count']} images, per class {counts['per_class']}")
    copies = report["duplicates"]
    print(
        f"prepare: left out: {report['bad']} unreadable,"
        f" {copies['exact']} exact and {copies['near']} near duplicates"
    )
    print(
        f"prepare: data sha256 {data.data_sha256(manifest)};"
        f" 25 real images in {RESULTS / 'real.png'}"
    )


def resume_folder(params: Params) -> Path:
    """The folder from which a killed run continues.

    Its name is a hash of the raw data, of the parameters and of the code that decodes.
    """
    from dcgan import files
    from dcgan.preparing import decode
    from dcgan.raw import dataset

    # Without what is decided after decoding, so that skip continues where refuse stopped.
    decided_later = {"on_bad_image", "duplicates", "near_bits"}
    parts = [
        (RAW / "manifest.json").read_bytes(),
        params.dataset.model_dump_json(exclude=decided_later).encode(),
        str(params.seed).encode(),
        *(Path(str(module.__file__)).read_bytes() for module in (decode, dataset)),
    ]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return files.scratch(f"prepare-{hashlib.sha256(digests).hexdigest()[:16]}")


if __name__ == "__main__":
    cli.run(main)

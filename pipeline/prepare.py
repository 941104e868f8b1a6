"""Prepare the images: arrays for train, validation and test, a manifest, a report, pictures."""

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcgan.config import reading, sections
from dcgan.errors import ConfigError
from pipeline import cli, pools

if TYPE_CHECKING:
    from dcgan.preparing import decoding
    from dcgan.raw.dataset import Raw

RAW, PREPARED, RESULTS = Path("data/raw"), Path("data/prepared"), Path("results/prepare")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    dataset: sections.Dataset


Shards = Annotated[
    str,
    typer.Option(
        metavar="FROM:TO", help="Only decode these shards, which several machines may share."
    ),
]


def main(shards: Shards = "") -> None:
    """Decode, split and store the images of data/raw in data/prepared.

    Example: python -m pipeline.prepare.
    """
    params = reading.load(Params)

    from dcgan import data, files, progress, rng
    from dcgan.pictures import grids
    from dcgan.preparing import preparation
    from dcgan.raw import records

    raw = records.open_raw(RAW, params.dataset, params.seed)
    kept = resume_folder(params, raw)
    if shards:
        decode_only(shards, raw, kept, params)
        return
    with progress.Bar("prepare", unit="images") as bar:
        report, dropped = preparation.prepare(
            raw, PREPARED, kept, params.dataset, params.seed, bar.update, helpers(params)
        )
    files.write_metrics(RESULTS / "report.json", report)
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


def decode_only(shards: str, raw: "Raw", kept: Path, params: Params) -> None:
    """Decode a range of shards to where the whole stage will find them, and write nothing else."""
    from dcgan import progress
    from dcgan.preparing import decoding, preparation

    jobs = [
        job
        for part in preparation.plan(raw, kept, params.dataset, params.seed)
        for job in part.jobs
    ]
    first, _, last = shards.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise ConfigError(
            f"--shards {shards}: must be FROM:TO, two numbers of 0 to {len(jobs)}, such as 0:10"
        )
    mine = jobs[int(first) : int(last)]
    with progress.Bar("prepare", unit="images") as bar:
        total = sum(len(job.chosen) for job in mine)
        decoding.decode_shards(
            raw, mine, lambda done: bar.update(done, total), workers=helpers(params)
        )
    numbers = f"{mine[0].number} to {mine[-1].number}" if mine else "none"
    print(f"prepare: shards {numbers} of {len(jobs)} are in {kept}; dvc repro goes on from there")


def helpers(params: Params) -> "decoding.Workers":
    """What opens processes that decode the same images, one a processor."""
    setup = functools.partial(open_here, params.dataset, params.seed)
    return functools.partial(pools.opened, os.cpu_count() or 1, setup)


def open_here(dataset: sections.Dataset, seed: int, _number: int) -> None:
    """Open the raw data in a process that helps."""
    from dcgan.preparing import decoding
    from dcgan.raw import records

    decoding.open_here(records.open_raw(RAW, dataset, seed, verify=False))


def resume_folder(params: Params, raw: "Raw") -> Path:
    """The folder that keeps decoded shards.

    Its name is a hash of the raw data, of the code that decodes, and of all that decides which
    images are decoded and how. The seed is not among it, except where it draws the images.
    """
    from dcgan import files
    from dcgan.preparing import decode, decoding, preparation
    from dcgan.raw import catalog, dataset, folder, layout, packing

    # What is decided after decoding; which images are chosen is counted below.
    decided_later = {
        "on_bad_image", "duplicates", "near_bits", "title", "validation_size", "max_images",
        "test_size", "download_minutes",
    }  # fmt: skip
    chosen = preparation.chosen(raw.pool, params.dataset, params.seed)
    drawn = "" if catalog.of(params.dataset).raw else str(params.seed)
    code = (decode, decoding, dataset, folder, layout, packing)
    parts = [
        (RAW / "manifest.json").read_bytes(),
        params.dataset.model_dump_json(exclude=decided_later).encode(),
        f"{params.dataset.duplicates == 'near'} {raw.test is None} {drawn}".encode(),
        chosen.tobytes(),
        *(Path(str(module.__file__)).read_bytes() for module in code),
    ]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return files.scratch(f"prepare-{hashlib.sha256(digests).hexdigest()[:16]}")


if __name__ == "__main__":
    cli.run(main)

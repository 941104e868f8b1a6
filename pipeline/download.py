"""Download the images: verified raw files in data/raw."""

import logging
import sys
from pathlib import Path

from dcgan.config import reading, sections
from dcgan.errors import UserError
from pipeline import cli

RAW = Path("data/raw")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    dataset: sections.DatasetFiles


def main() -> None:
    """Fetch the data set, verified, into data/raw. Example: python -m pipeline.download."""
    dataset = reading.load(Params).dataset

    from dcgan.raw import downloads, listing

    show_progress()
    source = downloads.fetch(RAW, dataset)
    listing.remember(dataset)
    for line in what_is_there(source):
        print(f"download: {line}")
    size = sum(path.stat().st_size for path in RAW.iterdir())
    print(f"download: {size} bytes, verified, in {RAW}")


def show_progress() -> None:
    """Print how far the packing of a large folder is, a line for each part."""
    packing = logging.getLogger("dcgan.raw.folder")
    words = logging.StreamHandler(sys.stdout)
    words.setFormatter(logging.Formatter("download: %(message)s"))
    packing.handlers, packing.propagate = [words], False
    packing.setLevel(logging.INFO)


def what_is_there(source: str) -> list[str]:
    """What the images are taken for with the params.yaml of now: a courtesy, and no output.

    For it, and for it alone, keys may be read that this stage does not declare: prepare opens the
    images again, and refuses what is wrong.
    """
    from dcgan.raw import catalog

    params = reading.load(sections.AllParams)
    dataset = params.dataset
    try:
        raw = catalog.of(dataset).open(RAW, dataset, params.seed)
    except UserError as error:
        return [f"{dataset.name} from {source}", f"prepare will refuse it: {error}"]
    own = "" if raw.test is None else f", {len(raw.test)} of them its own test split,"
    count = len(raw.pool) + (0 if raw.test is None else len(raw.test))
    return [f"{dataset.name}: {count} images{own} from {source}", *raw.said()]


if __name__ == "__main__":
    cli.run(main)

"""Download the images: verified raw files in data/raw."""

from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli

RAW = Path("data/raw")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    dataset: sections.DatasetFiles


def main() -> None:
    """Fetch the data set, verified, into data/raw. Example: python -m pipeline.download."""
    dataset = reading.load(Params).dataset

    from dcgan.raw import downloads

    source = downloads.fetch(RAW, dataset)
    print(f"download: {dataset.name} from {source}")
    sizes = [path.stat().st_size for path in RAW.iterdir()]
    print(f"download: {len(sizes)} files, {sum(sizes)} bytes, verified, in {RAW}")


if __name__ == "__main__":
    cli.run(main)

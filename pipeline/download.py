"""Download the images: verified raw files in data/raw."""

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

    from dcgan.raw import downloads

    source = downloads.fetch(RAW, dataset)
    sizes = [path.stat().st_size for path in RAW.iterdir()]
    print(f"download: {dataset.name} from {source}")
    print(f"download: {RAW} holds {len(sizes)} files, {sum(sizes)} bytes, verified")
    for line in what_is_there():
        print(f"download: {line}")


def what_is_there() -> list[str]:
    """What the images are taken for with the params.yaml of now: a courtesy, and no output.

    Keys that this stage does not declare may be read for it, because later stages decide anew, and
    refuse what is wrong.
    """
    from dcgan.raw import catalog

    params = reading.load(sections.AllParams)
    try:
        raw = catalog.of(params.dataset).open(RAW, params.dataset, params.seed)
    except UserError as error:
        return [f"prepare will refuse this: {error}"]
    parts = [len(raw.pool), *([] if raw.test is None else [len(raw.test)])]
    own = f", {parts[1]} of them in a test split of their own" if parts[1:] else ""
    return [f"{sum(parts)} images{own}", *raw.said()]


if __name__ == "__main__":
    cli.run(main)

"""The pages of Great Expectations about the prepared images, for the run in MLflow.

No stage reads them: they hold dates, so they are no output, and lie in the scratch folder.
"""

from pathlib import Path
from typing import Any


def place(manifest: dict[str, Any]) -> Path:
    """Their folder: named after the data."""
    from dcgan import data, files

    return files.scratch("data_docs", data.data_sha256(manifest)[:16])


def ensure(prepared: Path) -> Path:
    """Their folder, with the pages: made now where the stage validate was skipped.

    DVC skips it on a fresh clone, where its report is committed.

    Raises:
        DataError: a prepared file is missing or damaged.
    """
    from dcgan import data
    from dcgan.config import reading, sections

    manifest = data.read_manifest(prepared)
    folder = place(manifest)
    if not (folder / "index.html").is_file():
        from dcgan import validation

        limits = reading.load(sections.AllParams).expectations
        validation.validate(validation.statistics(prepared, manifest), manifest, limits, folder)
    return folder

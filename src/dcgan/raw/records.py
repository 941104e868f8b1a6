"""The raw files of a data set, opened as records: what the prepare stage reads."""

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from dcgan import files
from dcgan.config import sections
from dcgan.raw import catalog
from dcgan.raw.dataset import Raw


def open_raw(folder: Path, dataset: sections.Dataset, seed: int, *, verify: bool = True) -> Raw:
    """Open what `downloads.fetch` left in `folder`; LSUN's only once at a time in a process.

    Args:
        folder: the raw files and `manifest.json`.
        dataset: its `name`; for celeba also its `attributes`, for a folder `class_folders` and
            `test_size`, for fake sizes, channels and counts.
        seed: of the images of fake.
        verify: compare the files' sha256 with the manifest's first; the images of a folder are
            compared one by one, when they are read.

    Raises:
        DataError: a file is missing, has other bytes than were downloaded, or is not what it claims
            to be.
        ConfigError: an attribute that celeba does not have.
    """
    data_set = catalog.of(dataset)
    manifest = files.read_json(folder / "manifest.json")
    digests = manifest if isinstance(manifest, dict) else {}
    # Parts that are missing are missed too: the manifest names them.
    names = sorted(
        {name for name in digests for pattern in data_set.raw if fnmatch(name, pattern)}
        | {name for name in data_set.raw if "*" not in name}
    )
    later = {name for name in names for each in data_set.verified_when_read if fnmatch(name, each)}
    for name in names if verify else ():
        if name not in later or not (folder / name).is_file():
            files.verify(folder / name, digests.get(name, "none"))
    raw = data_set.open(folder, dataset, seed)
    # With test_size = 0 the data must bring a test split; otherwise test is held out of the pool.
    assert (raw.test is not None) == (dataset.test_size == 0), f"{dataset.name}: test is wrong"
    known = tuple(sorted(digests[name] for name in names))
    return replace(raw, classes=raw.classes or data_set.classes, files=known)

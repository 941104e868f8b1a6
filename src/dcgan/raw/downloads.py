"""Files from elsewhere, verified before the project uses them.

The same bytes arrive from every source: a served file is checked against the source's own digest,
its content against a sha256 that all sources share, or by its format if no sha256 is pinned.
Everything happens in a temporary folder; only good files replace what was there.
"""

import contextlib
import itertools
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dcgan import files
from dcgan.config import sections
from dcgan.errors import ConfigError, DataError, EnvironmentProblem, UserError
from dcgan.raw import catalog, locks, unpacking
from dcgan.raw.dataset import DataSet, File, Pin
from dcgan.raw.sources import Source, download, own_source, publisher_sources, shown

LOCK_SECONDS = 900  # for another process that fetches the same files
PUBLISHED = "published"  # key of the manifest: the data set whose publisher's digests were met

logger = logging.getLogger(__name__)


def fetch(folder: Path, dataset: sections.DatasetFiles) -> str:
    """Put the raw files of a data set, or of the user's own data in its format, into `folder`.

    Beside them goes `manifest.json`, the sha256 of each by its name. Raw files of another data set
    are removed.

    Args:
        folder: where they go, or a link to a folder on another disk; touched only when all are
            good.
        dataset: `name`, a key of the catalog, says which files; `source` where from: a folder or
            https URL, whose files are checked by their format, or None: the publisher's, checked by
            their digests. The publisher's files are not fetched again if they are there already
            with the sha256 that the catalog or the manifest has. celeba needs `attributes` too, see
            `celeba.attribute_labels`. `download_minutes` limits all downloads together.

    Returns:
        The source that was used, in words.

    Raises:
        ConfigError: `source` is neither a folder's path nor an https URL; this data set does not
            take one, or needs one; or celeba has no such attribute.
        DataError: what a source has is damaged or is something else.
        EnvironmentProblem: no source could be reached, the disk is full, or another process holds
            the lock for too long.
    """
    data_set = catalog.of(dataset)
    minutes = dataset.download_minutes
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    if dataset.source is None:
        sources = publisher_sources(dataset.name, data_set, until)
        return fetch_from(sources, folder, dataset, data_set.pins)
    if not data_set.raw:
        raise ConfigError(
            f"params.yaml: dataset.source: must be null with dataset.name: {dataset.name},"
            " whose images are drawn"
        )
    return fetch_from([own_source(dataset.source, data_set.files, until)], folder, dataset, {})


def fetch_from(
    sources: Sequence[Source],
    folder: Path,
    dataset: sections.DatasetFiles,
    pins: Mapping[str, Pin],
) -> str:
    """As `fetch`, from the first of `sources` whose files are good.

    Args:
        sources: where the files may come from.
        folder: as in `fetch`.
        dataset: as in `fetch`, except that `source` is not used.
        pins: what the raw files must be, by name; none for data of the user's own.
    """
    data_set = catalog.of(dataset)
    shown_as, folder = (
        folder,
        folder.resolve(),
    )  # of a link the folder, so that all files are made on its disk
    problems: list[UserError] = []
    with _locked(folder):
        if digests := _already_there(folder, dataset, pins):
            files.write_json(folder / "manifest.json", digests)
            _remove_files_of_others(folder, data_set.raw)
            return f"{shown_as}, where the verified files were already"
        for source, following in itertools.zip_longest(sources, sources[1:]):
            with _staging(folder) as staging:
                try:
                    served = source.get(staging / "served")
                    unpacking.check_served(served, data_set.files, source.digests)
                    data_set.unpack(served, staging, pins, dataset)
                except UserError as error:
                    text = str(error).replace(f"{staging}{os.sep}", "")
                    problem = type(error)(text if source.name in text else f"{source.name}: {text}")
                    if following:  # what becomes the error is not said twice
                        level = logging.WARNING if isinstance(error, DataError) else logging.INFO
                        logger.log(level, "%s: next is %s", problem, following.name)
                    problems.append(problem)
                    continue
                names = data_set.raw_files(staging)
                manifest = {name: files.sha256(staging / name) for name in names}
                if source.digests and not _pinned(data_set, pins):
                    manifest[PUBLISHED] = dataset.name
                for name in names:
                    with files.replacing(folder / name) as temporary:
                        os.replace(staging / name, temporary)
                files.write_json(folder / "manifest.json", manifest)
                _remove_files_of_others(folder, names)
                data_set.fetched(dataset)
                return source.name
    if len(problems) == 1:
        raise problems[0]
    damaged = any(isinstance(problem, DataError) for problem in problems)
    raise (DataError if damaged else EnvironmentProblem)(
        f"{shown_as}: no source of the data could be used: {'; '.join(map(str, problems))};"
        " check the network, or set dataset.source to a folder that has the files"
    )


def fetch_file(
    url: str, path: Path, sha256: str, limits: File, redirects: Collection[str] = ()
) -> None:
    """Put one file with a pinned sha256 at `path`, unless it is there already.

    Args:
        url: https, or http on this machine.
        path: where it goes; touched only when it is good.
        sha256: 64 hex digits, in small letters.
        limits: bytes and seconds it may take.
        redirects: hosts to which the server may redirect, once: the content is pinned, whichever
            host serves it.

    Raises:
        ConfigError: another kind of URL.
        DataError: the file is something else.
        EnvironmentProblem: the server does not answer, the disk is full, or another process holds
            the lock for too long.
    """
    with _locked(path):
        if path.is_file() and files.sha256(path) == sha256:
            return
        with _staging(path) as staging:
            download(url, limits, staging / path.name, redirects)
            digest = files.sha256(staging / path.name)
            if digest != sha256:
                raise DataError(f"{shown(url)}: sha256 is {digest}, expected {sha256}: refused")
            with files.replacing(path) as temporary:
                os.replace(staging / path.name, temporary)


def _pinned(data_set: DataSet, pins: Mapping[str, Pin]) -> dict[str, str]:
    """The sha256 of each raw file by its name, if the catalog knows all of them; else none."""
    known = {name: pins[name].sha256 for name in data_set.raw if name in pins}
    digests = {name: sha256 for name, sha256 in known.items() if sha256}
    return digests if set(digests) == set(data_set.raw) else {}


def _already_there(
    folder: Path, dataset: sections.DatasetFiles, pins: Mapping[str, Pin]
) -> dict[str, str]:
    """The manifest of the folder, if it has the publisher's files already, verified; else none."""
    data_set = catalog.of(dataset)
    expected = manifest = _pinned(data_set, pins)
    if not expected and dataset.source is None and (folder / "manifest.json").is_file():
        # The catalog has no sha256 of these: an earlier download that the publisher's digests
        # have confirmed wrote them down.
        manifest = files.read_json(folder / "manifest.json")
        sizes_fit = all(
            (folder / name).is_file() and (folder / name).stat().st_size == pin.size
            for name, pin in pins.items()
        )
        if sizes_fit and isinstance(manifest, dict) and manifest.get(PUBLISHED) == dataset.name:
            expected = {name: str(manifest.get(name)) for name in data_set.raw}
    there = expected and all(
        (folder / name).is_file() and files.sha256(folder / name) == sha256
        for name, sha256 in expected.items()
    )
    return manifest if there else {}


def _remove_files_of_others(folder: Path, ours: Collection[str]) -> None:
    """Remove the raw files of other data sets, and nothing that the catalog does not name."""
    for pattern in set(catalog.raw_names()):
        for path in folder.glob(pattern):
            if path.name not in ours:
                path.unlink()


def _locked(path: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock beside the folder or file `path`, which is then ours to fill."""
    does = f"has been fetching the same files for {LOCK_SECONDS} s"
    return locks.held(path.parent / f".{path.name}.lock", LOCK_SECONDS, does)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, so on the same disk.

    What a killed process left is removed first: we hold the lock, so no process uses it.
    """
    prefix = f".{folder.name}-part-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".part-*"):
        left.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as name:
        yield Path(name)

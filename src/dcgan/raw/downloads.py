"""Files from elsewhere, verified before anybody sees them.

The same bytes arrive whatever the source: what a source serves is checked against that source's own
digest, what is inside against a sha256 that all sources share, or its format where there is none.
Everything happens in a temporary folder; only good files replace what was there.
"""

import contextlib
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from dcgan import files
from dcgan.config import sections
from dcgan.errors import ConfigError, DataError, EnvironmentProblem, UserError
from dcgan.raw import trees, unpacking
from dcgan.raw.catalog import CELEBA_LABELLED, KNOWN, File, Known, Pin, known_of
from dcgan.raw.sources import Source, download, own_source, publisher_sources, shown

LOCK_SECONDS = 900  # for another process that fetches the same files

# Given what a source has, the folder for the raw files, and pins by raw name.
Unpack = Callable[[Path, Path, Mapping[str, Pin]], None]
UNPACK: dict[str, Unpack] = {
    "mnist": unpacking.idx,
    "fashion_mnist": unpacking.idx,
    "cifar10": unpacking.cifar10,
    "svhn": unpacking.svhn,
    "celeba": unpacking.celeba,
    "lsun": unpacking.lsun,
}

logger = logging.getLogger(__name__)


def fetch(folder: Path, dataset: sections.Dataset) -> str:
    """Put the raw files of a data set, or of one of one's own in its format, into `folder`.

    Beside them goes `manifest.json`, the sha256 of each by its name. Raw files of another data set
    go.

    Args:
        folder: where they go; touched only when all are good.
        dataset: `name`, a key of the catalog, says which files; `source` where from: a folder or
            https URL, whose files are checked by their format, or None: the publisher's, checked by
            their digests. Files that are there already are not fetched again if the catalog knows
            the sha256 of each. Of a folder of images `class_folders` is needed too, see
            `trees.pack`; of celeba `attributes`, see `formats.celeba_labels`.

    Returns:
        The source that was used, in words.

    Raises:
        ConfigError: `source` is neither a folder's path nor an https URL, or this data set cannot
            do with it, or without it; or celeba has no such attribute.
        DataError: what a source has is damaged or is something else.
        EnvironmentProblem: no source could be reached, the disk is full, or another process holds
            the lock for too long.
    """
    known = known_of(dataset.name, dataset.attributes)
    if dataset.name == "fake":
        if dataset.source is not None:
            raise ConfigError(
                "params.yaml: dataset.source: must be null with dataset.name: fake, whose images are drawn"
            )
        return _fetch_nothing(folder)
    if dataset.name == "folder":
        return fetch_from([own_source(str(dataset.source), ())], folder, known, _packing(dataset))
    unpack = UNPACK[dataset.name]
    if dataset.attributes:
        unpack = functools.partial(unpacking.celeba, attributes=dataset.attributes)
    if dataset.source is None:
        return fetch_from(publisher_sources(dataset.name, known), folder, known, unpack, known.pins)
    return fetch_from([own_source(dataset.source, known.files)], folder, known, unpack)


def fetch_from(
    sources: Sequence[Source],
    folder: Path,
    known: Known,
    unpack: Unpack,
    pins: Mapping[str, Pin] | None = None,
) -> str:
    """As `fetch`, from the first of `sources` whose files are good; `pins` by raw name, or none where nothing is known."""
    problems: list[UserError] = []
    with _locked(folder):
        if pins and _is_there(folder, known, pins):
            files.write_json(
                folder / "manifest.json", {name: pins[name].sha256 for name in known.raw}
            )
            _remove_strangers(folder, known)
            return f"{folder}, where the verified files were already"
        for source in sources:
            with _staging(folder) as staging:
                try:
                    served = source.get(staging / "served")
                    unpacking.check_served(served, known, source.digests)
                    unpack(served, staging, pins or {})
                except UserError as error:
                    text = str(error).replace(f"{staging}{os.sep}", "")
                    problem = type(error)(text if source.name in text else f"{source.name}: {text}")
                    logger.log(
                        logging.WARNING if isinstance(error, DataError) else logging.INFO,
                        "%s",
                        problem,
                    )
                    problems.append(problem)
                    continue
                digests = {name: files.sha256(staging / name) for name in known.raw}
                for name in known.raw:
                    with files.replacing(folder / name) as temporary:
                        os.replace(staging / name, temporary)
                files.write_json(folder / "manifest.json", digests)
                _remove_strangers(folder, known)
                return source.name
    if len(problems) == 1:
        raise problems[0]
    kind = (
        DataError
        if any(isinstance(problem, DataError) for problem in problems)
        else EnvironmentProblem
    )
    raise kind(
        f"{folder}: no source of the data could be used: {'; '.join(map(str, problems))};"
        " check the network, or set dataset.source to a folder that has the files"
    )


def fetch_file(
    url: str, path: Path, sha256: str, limits: File, redirects: Collection[str] = ()
) -> None:
    """Put one file whose sha256 is known at `path`; one that is there already and right is not fetched again.

    Args:
        url: https, or http on this machine.
        path: where it goes; touched only when it is good.
        sha256: 64 hex digits, in small letters.
        limits: bytes and seconds it may take.
        redirects: hosts to which the server may send us on, once: what comes is pinned, whoever
            serves it.

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
            found = files.sha256(staging / path.name)
            if found != sha256:
                raise DataError(f"{shown(url)}: sha256 is {found}, expected {sha256}: refused")
            with files.replacing(path) as temporary:
                os.replace(staging / path.name, temporary)


def _fetch_nothing(folder: Path) -> str:
    with _locked(folder):
        files.write_json(folder / "manifest.json", {})
        _remove_strangers(folder, KNOWN["fake"])
    return "nowhere: its images are drawn when they are needed"


def _packing(dataset: sections.Dataset) -> Unpack:
    at_least = dataset.validation_size + dataset.test_size + 1
    pack = functools.partial(trees.pack, class_folders=dataset.class_folders, at_least=at_least)
    return lambda served, staging, _: pack(served, staging)


def _is_there(folder: Path, known: Known, pins: Mapping[str, Pin]) -> bool:
    wanted = {folder / name: pins[name].sha256 for name in known.raw}
    return all(wanted.values()) and all(
        path.is_file() and files.sha256(path) == digest for path, digest in wanted.items()
    )


def _remove_strangers(folder: Path, known: Known) -> None:
    """Remove the raw files of other data sets, and nothing that the catalog does not name."""
    for other in (*KNOWN.values(), CELEBA_LABELLED):
        for name in set(other.raw) - set(known.raw):
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock beside `folder`; the system frees the lock of a process that died."""
    path = folder.parent / f".{folder.name}.lock"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise EnvironmentProblem(
            f"{path}: another process has held it for {LOCK_SECONDS} s: wait for it, or end it"
        ) from error
    except OSError as error:
        raise EnvironmentProblem(
            f"{path}: cannot be written ({error.strerror}): check the folder and its rights"
        ) from error
    try:
        yield
    finally:
        # While we hold it: whoever waits for this file finds that it is gone (filelock looks) and
        # makes it anew.
        path.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, so on the same disk. What a killed process left goes first; we hold the lock."""
    prefix = f".{folder.name}-part-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".part-*"):
        left.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as name:
        yield Path(name)

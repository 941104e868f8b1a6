"""A model folder on disk: what it may hold, and its list of sha256, checked before any use.

Nothing in such a folder is a pickle, and no code of it is run here: `mlflow models serve` does
that, in a process of its own.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from dcgan import files
from dcgan.errors import ConfigError, DataError, EnvironmentProblem, NoCheckpoint

MANIFEST = "sha256.json"  # of every other file, by its path in the folder
GENERATOR, DISCRIMINATOR = "artifacts/generator.safetensors", "artifacts/discriminator.safetensors"
CODE = "pyfunc.py"  # what MLflow runs to serve the model
# MLflow and Python put these into a folder from which they load a model. They stand in no list,
# and are neither read nor copied.
ADDED = ("registered_model_meta", "__pycache__")
SUFFIXES = (".safetensors", ".json", ".py", ".txt", ".yaml", ".md")
MAX_FILES, MAX_DEPTH = 100, 4


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` after the body; if that raises, nothing is left.

    Raises:
        ConfigError: `folder` is not empty, or no folder.
        EnvironmentProblem: it cannot be made.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ConfigError(
            f"{folder}: is there already: give an empty folder, or one that is not there yet"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    except OSError as error:
        raise EnvironmentProblem(
            f"{folder}: cannot be made ({error.strerror}): check the folder above and its rights"
        ) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    except OSError as error:
        raise EnvironmentProblem(
            f"{folder}: cannot be written ({error.strerror or error}): check the disk"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def seal(folder: Path) -> str:
    """Write the list of a finished folder's files.

    Returns:
        The sha256 of the list, which names the folder's content.
    """
    names = [name for name in listed(folder) if name != MANIFEST]
    files.write_json(folder / MANIFEST, {name: files.sha256(folder / name) for name in names})
    return files.sha256(folder / MANIFEST)


def check(folder: Path, expected: str | None = None) -> str:
    """Check a model folder from any source.

    Checked are the names, the sha256 of every file, that nothing is a pickle, and that the networks
    load.

    Args:
        folder: as `seal` left it, perhaps with a file that MLflow adds.
        expected: sha256 of its list; None: it is not compared.

    Returns:
        The sha256 of the list.

    Raises:
        NoCheckpoint: the folder does not exist, or has no list.
        DataError: a check failed.
    """
    if not (folder / MANIFEST).is_file():
        raise NoCheckpoint(
            f"{folder}: is no model folder: it has no {MANIFEST};"
            " give one that `register` or `evaluate` wrote"
        )
    sha256 = files.sha256(folder / MANIFEST)
    if expected not in (None, sha256):
        raise DataError(
            f"{folder / MANIFEST}: sha256 is {sha256[:16]}, expected {str(expected)[:16]}:"
            " the model was changed"
        )
    names, digests = listed(folder), manifest(folder)
    for name in names:
        if name not in (*digests, MANIFEST):
            raise DataError(
                f"{folder}: {name!r} is not in its {MANIFEST}: it was added; do not use this model"
            )
    for name, digest in digests.items():
        if name not in names:
            raise DataError(
                f"{folder}: {name!r} is in its {MANIFEST} and missing:"
                " fetch or export the model again"
            )
        if (actual := files.sha256(folder / name)) != digest:
            raise DataError(
                f"{folder / name}: sha256 is {actual[:16]}, expected {digest[:16]}: damaged;"
                " fetch or export it again"
            )
    _check_flavor(folder)
    check_networks(folder)
    return sha256


def check_networks(folder: Path) -> None:
    """Check the generator, and the discriminator if there is one, against their descriptions.

    Raises:
        DataError: one is damaged, of the wrong kind, no safetensors file, or not what its
            description says.
    """
    from dcgan.networks import exports

    exports.load_generator(folder / GENERATOR)
    if (folder / DISCRIMINATOR).exists():
        exports.load_discriminator(folder / DISCRIMINATOR)


def manifest(folder: Path) -> dict[str, str]:
    """The sha256 by name, checked for their form.

    Raises:
        DataError: it is no such list.
    """
    path = folder / MANIFEST
    digests = files.read_json(path)
    if not isinstance(digests, dict) or not all(
        re.fullmatch("[0-9a-f]{64}", str(digest)) for digest in digests.values()
    ):
        raise DataError(f"{path}: must hold one sha256 a file: fetch or export the model again")
    check_names(digests)
    return digests


def check_names(names: Iterable[str]) -> None:
    """Refuse names that leave the folder, are of a kind that no model has, or are too many.

    Raises:
        DataError: the first wrong one.
    """
    names = list(names)
    if len(names) > MAX_FILES:
        raise DataError(
            f"a model of {len(names)} files: must be at most {MAX_FILES}; is it the right folder?"
        )
    for name in names:
        path = PurePosixPath(name)
        plain = (
            str(path) == name
            and "\\" not in name
            and name.isprintable()
            and len(path.parts) <= MAX_DEPTH
        )
        if not plain or path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{name[:200]!r} in a model: leaves its folder, or is no plain name:"
                " do not use this model"
            )
        if path.suffix not in SUFFIXES and name != "MLmodel":
            raise DataError(
                f"{name[:200]!r} in a model: must be MLmodel or end in {' '.join(SUFFIXES)}:"
                " do not use this model"
            )


def listed(folder: Path) -> list[str]:
    """The names of all files in a folder but those in ADDED, checked, with / between their parts.

    Raises:
        DataError: one of them is a link or no regular file, or has a wrong name.
    """
    names = []
    for root, folders, entries in os.walk(folder):
        folders[:] = [entry for entry in folders if entry not in ADDED]
        entries = [entry for entry in entries if entry not in ADDED]
        for entry in (*folders, *entries):
            path = Path(root, entry)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise DataError(f"{path}: is a link or no regular file: do not use this model")
        names += [Path(root, entry).relative_to(folder).as_posix() for entry in entries]
    check_names(names)
    return sorted(names)


def copy(source: Path, folder: Path) -> None:
    """Check and copy a model folder, or one generator and the discriminator beside it.

    Args:
        source: the folder, or the generator's file.
        folder: where to; it is empty.

    Raises:
        NoCheckpoint: `source` does not exist.
        DataError: a check failed.
    """
    if source.is_dir():
        check(source)
        pairs = [(source / name, folder / name) for name in (*manifest(source), MANIFEST)]
    else:
        if not source.is_file():
            raise NoCheckpoint(
                f"{source}: does not exist: run evaluate, or give a model as models:/NAME@ALIAS"
            )
        networks = [(source, folder / GENERATOR)]
        other = source.with_name("discriminator.safetensors")
        if other.is_file() and other != source:
            networks.append((other, folder / DISCRIMINATOR))
        pairs = [
            (old.with_suffix(end), new.with_suffix(end))
            for old, new in networks
            for end in (".safetensors", ".json")
        ]
    for old, new in pairs:
        if not old.is_file():
            raise DataError(f"{old}: missing: run the stage that makes it")
        files.copy(old, new)


def _check_flavor(folder: Path) -> None:
    from dcgan.config import reading

    try:
        model = reading.read_yaml(folder / "MLmodel")
    except ConfigError as error:
        raise DataError(
            f"{folder / 'MLmodel'}: cannot be read as YAML 1.2: fetch or export the model again"
        ) from error
    flavors = model.get("flavors") if isinstance(model, dict) else None
    flavor = None
    if isinstance(flavors, dict) and set(flavors) == {"python_function"}:
        flavor = flavors["python_function"]
    if (
        not isinstance(flavor, dict)
        or flavor.get("loader_module") != "mlflow.pyfunc.loaders.code_model"
        or flavor.get("model_code_path") != CODE
        or "python_model" in flavor
    ):
        raise DataError(
            f"{folder / 'MLmodel'}: must be a model from the code file {CODE} and nothing else:"
            " do not use this model"
        )

"""Write files in one visible step, and read them only after their sha256 is checked."""

import contextlib
import copy as copy_module
import csv
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.errors import DataError, EnvironmentProblem

if TYPE_CHECKING:
    import torch

DETAILS = "details"  # what a metrics file holds beside the values that DVC shows


def sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scratch(*parts: str) -> Path:
    """A path below `.scratch`, the folder of work that is no output of DVC.

    Stages that were killed resume from it. It lies in the main workspace, also when DVC runs an
    experiment in a copy of the workspace: DVC throws that copy away.
    """
    return own_path(".scratch").joinpath(*parts)


def own_path(path: str) -> Path:
    """A path of params.yaml: ~ is the user's folder, a relative path begins in the workspace.

    That is the main workspace, also when DVC runs an experiment in a copy of it, which lies
    elsewhere and has no files but those that git knows.
    """
    return Path(os.environ.get("DVC_ROOT", "."), Path(path).expanduser())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    When the body raises, the temporary file goes and `path` stays as it was.

    Raises:
        EnvironmentProblem: the disk is full, or the folder cannot be written.
    """
    _reached("begin", path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Ends like the real name, because Pillow and numpy choose the format by the suffix.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=f"-{path.name}")
        os.close(handle)
    except OSError as error:
        raise _problem(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _reached("flush", path)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        _reached("rename", path)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _problem(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one visible step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` in one visible step."""
    write_bytes(path, text.encode())


def copy(source: Path, path: Path) -> None:
    """Copy a file's content to `path` in one visible step.

    Raises:
        EnvironmentProblem: the disk is full, or a file cannot be read or written.
    """
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as sorted JSON, so that equal values give equal bytes.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_metrics(path: Path, metrics: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
    """Write a metrics file of which DVC shows a few values, as JSON in a fixed order.

    DVC shows every number and text of such a file that keys lead to, and nothing that lies in a
    list: all but `shown` goes to `details`, a list of one. A file of its own for the rest would be
    no metrics file, and DVC keeps the run cache of a stage only if what git has of it is metrics
    or plots.

    Args:
        path: the file.
        metrics: all values; `read_metrics` gives them back.
        shown: keys, dotted where they are nested; those that are missing are skipped.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    details, top = copy_module.deepcopy(dict(metrics)), dict[str, Any]()
    for key in shown:
        _move(details, top, key.split("."))
    parts = [
        json.loads(json.dumps(part, sort_keys=True, allow_nan=False))
        for part in (top, {DETAILS: [details]})
    ]
    # What is shown comes first for people, too.
    write_text(path, json.dumps(parts[0] | parts[1], indent=2) + "\n")


def _move(source: dict[str, Any], target: dict[str, Any], keys: Sequence[str]) -> None:
    """Move the value that the keys lead to, if it is there."""
    first, *rest = keys
    if not rest:
        if first in source:
            target[first] = source.pop(first)
    elif isinstance(source.get(first), dict):
        below = target.get(first, {})
        _move(source[first], below, rest)
        if below:
            target[first] = below


def read_metrics(path: Path) -> Any:
    """All values of a file of `write_metrics`; errors as those of `read_json`."""
    return whole_metrics(read_json(path))


def whole_metrics(content: Any) -> Any:
    """All values of what a file of `write_metrics` holds; of another file its content."""
    details = content.get(DETAILS) if isinstance(content, dict) else None
    if not (isinstance(details, list) and len(details) == 1 and isinstance(details[0], dict)):
        return content
    return _merged(details[0], {key: value for key, value in content.items() if key != DETAILS})


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(one[key], value) if isinstance(one.get(key), dict) else value
        for key, value in other.items()
    }
    return {**one, **both}


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, which have the same keys, as CSV: a header, then one line for each row."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def append_csv(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a file of `write_csv`; a killed process has written all of it or nothing.

    Raises:
        EnvironmentProblem: the disk is full, or the file cannot be written.
    """
    line = io.StringIO()
    csv.DictWriter(line, fieldnames=list(row), lineterminator="\n").writerow(row)
    try:
        with open(path, "ab", buffering=0) as file:
            file.write(line.getvalue().encode())
    except OSError as error:
        raise _problem(path, error) from error


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(
            f"{path}: missing: run the stage that makes it (dvc repro makes all)"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error}): run the stage that makes it"
        ) from error


def verify(path: Path, expected: str) -> None:
    """Compare a file with its recorded sha256.

    Raises:
        DataError: the file is missing or has other bytes.
    """
    if not path.is_file():
        raise DataError(f"{path}: missing: run the stage that makes it")
    digest = sha256(path)
    if digest != expected:
        raise _damaged(path, digest, expected)


def write_tensors(
    path: Path, tensors: dict[str, "torch.Tensor"], description: dict[str, Any]
) -> str:
    """Write tensors as safetensors and, last, `description` as JSON beside them.

    The JSON also gets the `sha256` of the tensors' file, and a `seal`: the sha256 of all the rest
    of the JSON.

    The safetensors file has no metadata of its own, whose keys are written in random order: equal
    tensors would give unequal files.

    Returns:
        The sha256 of the safetensors file.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    write_bytes(path, content)
    whole = {**description, "sha256": digest}
    write_json(path.with_suffix(".json"), {**whole, "seal": _seal(whole)})
    return digest


def read_tensors(
    path: Path, *, sealed: bool = False
) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors and description.

    Args:
        path: of the tensors.
        sealed: whether a description without a seal is refused. Models that were registered before
            there were seals have none.

    Raises:
        DataError: a file is missing, its sha256 is not the recorded one, or a value is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    description = read_json(path.with_suffix(".json"))
    if not isinstance(description, dict) or not isinstance(description.get("sha256"), str):
        raise DataError(f"{path.with_suffix('.json')}: has no sha256: run the stage that makes it")
    seal = description.pop("seal", None)
    if seal != _seal(description) and (sealed or seal is not None):
        raise _damaged(path.with_suffix(".json"), _seal(description), str(seal))
    # One read, so that the bytes hashed are the bytes used.
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): run the stage that makes it"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != description["sha256"]:
        raise _damaged(path, digest, description["sha256"])
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise DataError(
            f"{path}: is no safetensors file ({error}): run the stage that makes it"
        ) from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise DataError(
                f"{path}: tensor {name} has values that are not finite: run the stage that makes it"
            )
    return tensors, description


def _seal(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _reached(phase: str, path: Path) -> None:
    """Called before `replacing` does `begin`, `flush` or `rename`; tests end the process here."""


def _damaged(path: Path, digest: str, expected: str) -> DataError:
    return DataError(
        f"{path}: sha256 is {digest[:16]}, expected {expected[:16]}: the file is damaged;"
        " delete it and its copy in .dvc/cache, then run dvc repro"
    )


def _problem(path: Path, error: OSError) -> EnvironmentProblem:
    if error.errno == errno.ENOSPC:
        free = os.statvfs(path.parent if path.parent.is_dir() else ".").f_bavail
        return EnvironmentProblem(
            f"{path}: no space left on the disk ({free} blocks free): make room, then run again"
        )
    return EnvironmentProblem(
        f"{path}: cannot be written ({error.strerror or error}): check the folder and its rights"
    )


def _sync_folder(folder: Path) -> None:
    # The rename itself is on disk only when the folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

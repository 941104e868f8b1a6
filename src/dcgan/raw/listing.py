"""Whether a source folder has changed since its images were fetched, without reading them.

DVC does not look into the folder that `dataset.source` names: it lies outside of the repository.
So `download` remembers a cheap listing, names, sizes and times, and the commands compare it.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from dcgan import files
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.files import own_path


def remember(dataset: sections.DatasetFiles) -> None:
    """Keep the listing of a source folder that was just fetched; nothing for other sources."""
    if (folder := _folder(dataset)) is not None:
        files.write_json(_place(folder), listing(folder))


def change(dataset: sections.DatasetFiles) -> str | None:
    """A sentence, if the source is a folder and has other files than when it was fetched.

    None also where it was never fetched on this machine: then DVC runs the stage anyway.
    """
    folder = _folder(dataset)
    if folder is None or not _place(folder).is_file():
        return None
    try:
        before = files.read_json(_place(folder))
    except DataError:
        return None  # a file of our own, cut short: nothing is known
    now = listing(folder)
    if now == before:
        return None
    count = before.get("files")
    files_now = f"{now['files']} files, were {count}" if now["files"] != count else "other files"
    return f"dataset.source {dataset.source} has changed since it was fetched ({files_now})"


def listing(folder: Path) -> dict[str, Any]:
    """The number of files below a folder, and one hash of their names, sizes and times.

    Links to folders are followed once. Files and folders whose names begin with a dot are skipped.
    What cannot be looked at is skipped as well: `download` says what is wrong.
    """
    lines: list[bytes] = []
    waiting, seen = [folder], {os.path.realpath(folder)}
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real not in seen:
                        seen.add(real)
                        waiting.append(Path(entry.path))
                    continue
                status = entry.stat()
            except OSError:
                continue
            lines.append(f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}".encode(
                errors="surrogateescape"
            ))  # fmt: skip
    return {"files": len(lines), "sha256": hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()}


def _folder(dataset: sections.DatasetFiles) -> Path | None:
    """The source, if it is a folder of this machine."""
    if dataset.source is None or "://" in dataset.source:
        return None
    path = own_path(dataset.source).absolute()
    return path if path.is_dir() else None


def _place(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return files.scratch("sources", f"{name}.json")

"""What the commands that start DVC check first, and what a stage that ran leaves behind."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from dcgan.errors import EnvironmentProblem

STAGES = "stages.jsonl"  # in .scratch: a line for each stage that ran
OUTPUTS = ("data", "models", "results")
CACHE = Path(".dvc/cache/files/md5")
# Seconds after which a half-written file has no writer any more: one is written within seconds, but
# for those of a large data set, which are written to all the time.
ABANDONED = 3600.0


def check() -> None:
    """Refuse a folder in which DVC would end with an error of its own.

    Raises:
        EnvironmentProblem: one line that says what to do.
    """
    if not any((folder / ".git").exists() for folder in [Path.cwd(), *Path.cwd().parents]):
        raise EnvironmentProblem(
            "this folder is no git repository, which DVC needs: type"
            " git init && git add -A && git commit -qm start"
        )
    if Path("data").is_symlink():
        raise EnvironmentProblem(
            "data is a link, which DVC refuses: make it a folder, and keep the files on another"
            " disk by a link data/raw, or by DVC's cache there: dvc cache dir /other/disk/cache"
            " and dvc config cache.type symlink"
        )


def left_over() -> list[Path]:
    """The half-written files that killed processes have left among the outputs."""
    return [path for name in OUTPUTS for path in Path(name).rglob(".part-*") if path.is_file()]


def delete_left_over() -> None:
    """Delete those that nobody writes any more, so that no commit takes one along."""
    for path in left_over():
        if time.time() - path.stat().st_mtime > ABANDONED:
            path.unlink(missing_ok=True)


def damaged_objects() -> tuple[list[Path], int]:
    """The objects of DVC's cache whose content is not what their name says, and how many it has.

    DVC believes what is there, and what a remote without `verify: true` sends.
    """
    damaged, total = [], 0
    for path in sorted(CACHE.glob("??/*")):
        total += 1
        with open(path, "rb") as file:
            # MD5 is DVC's choice of a name.
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        if digest.hexdigest() != path.parent.name + path.name.removesuffix(".dir"):
            damaged.append(path)
    return damaged, total


def changed_source() -> str | None:
    """A sentence, if the folder that dataset.source names has changed since it was fetched."""
    from dcgan.config import reading, sections
    from dcgan.raw import listing

    return listing.change(reading.load(sections.AllParams).dataset)


def note_stage(stage: str, seconds: float, code: int) -> None:
    """Remember how long a stage took and how it ended; only a courtesy, so it never fails."""
    try:
        path = Path(os.environ.get("DVC_ROOT", "."), ".scratch", STAGES)
        path.parent.mkdir(exist_ok=True)
        with open(path, "a") as file:
            file.write(json.dumps({"stage": stage, "seconds": seconds, "exit": code}) + "\n")
    except OSError:
        return


def stages(skip: int) -> list[dict[str, Any]]:
    """The stages that ran, first one first, without the first `skip` lines."""
    path = Path(".scratch", STAGES)
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines[skip:] if line.endswith("}")]


def count_stages() -> int:
    """How many lines there are already."""
    path = Path(".scratch", STAGES)
    return len(path.read_text().splitlines()) if path.is_file() else 0

"""What the commands that start DVC check first, and what a stage that ran leaves behind."""

import json
import os
from pathlib import Path
from typing import Any

from dcgan.errors import EnvironmentProblem

STAGES = "stages.jsonl"  # in .scratch: a line for each stage that ran


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

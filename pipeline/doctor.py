"""Show what this machine has and what is missing."""

import importlib.metadata
import platform
import shutil
import sqlite3
from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text
from typer import Option

from dcgan.errors import EnvironmentProblem
from dcgan.tracking import provenance, store
from pipeline import cli, tables, workspace

PACKAGES = ("torch", "torchvision", "mlflow", "dvc", "great-expectations", "torch-fidelity")
NEEDED_GB = 2  # data, checkpoints, DVC's cache and the MLflow store of a few runs


def main(
    data: Annotated[
        str | None, Option(help="A folder of pictures: say what will be done with it.")
    ] = None,
) -> None:
    """Show what this machine has and what is missing: python -m pipeline doctor.

    Exit code 6 where something is missing. With --data FOLDER it looks at a folder of pictures
    instead, and changes nothing.
    """
    if data is not None:
        about(data)
        return
    table = Table("", "", show_header=False)
    problems = []
    for title, check in (
        ("Python", platform.python_version), ("packages", packages), ("device", device),
        ("git", git), ("DVC", dvc), ("MLflow store", mlflow_store), ("disk", disk),
    ):  # fmt: skip
        try:
            table.add_row(title, check())
        except EnvironmentProblem as error:
            problems.append(str(error))
            table.add_row(title, Text(str(error), style="red"))
    tables.show(table)
    if problems:
        raise EnvironmentProblem(
            f"doctor: {len(problems)} of {table.row_count} checks failed: {problems[0]}"
        )


def about(folder: str) -> None:
    """What the stages will do with a folder of pictures, with the params of now."""
    from dcgan.config import reading, sections
    from dcgan.raw import survey
    from dcgan.raw.unpacking import own_path

    dataset = reading.load(sections.AllParams).dataset
    for line in survey.lines(survey.look(own_path(folder), folder, dataset), dataset):
        print(f"doctor: {line}")
    print(f"doctor: python -m pipeline init {folder} sets params.yaml for it")


def packages() -> str:
    """Versions of what the results depend on."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError as error:
            raise EnvironmentProblem(f"{name} is not installed: run make repro") from error
    return "\n".join(versions)


def device() -> str:
    """What `auto` chooses here, and the number of threads, which CPU results depend on."""
    import torch

    from dcgan.networks import devices

    chosen = devices.choose_device("auto")
    processor = platform.processor() or platform.machine()
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else processor
    precision = devices.choose_precision("auto", chosen)
    return f"{chosen.type} ({name}), {precision}, {torch.get_num_threads()} threads"


def git() -> str:
    """The commit that a run would be tagged with."""
    commit, dirty = provenance.git_state()
    if commit is None:
        raise EnvironmentProblem("no commit: DVC experiments need a git repository with one")
    return commit[:12] + (", with changes" if dirty else "")


def dvc() -> str:
    """Whether DVC can work here."""
    workspace.check()
    if not Path(".dvc").is_dir():
        raise EnvironmentProblem(".dvc: missing: run in the repository's folder")
    if not shutil.which("dvc"):
        raise EnvironmentProblem("dvc is not on the path: run source .venv/bin/activate")
    if Path("dvc.lock").is_file():
        return "lock file present"
    return "nothing made yet: dvc repro makes everything"


def mlflow_store() -> str:
    """Where the runs go, opened for a moment; a sqlite file without MLflow, which is slow."""
    path = store.sqlite_path(store.location())
    if path is None:
        store.connect()
    elif not path.exists():
        return f"{store.shown()}, made by the first run"
    else:
        try:
            store.check(store.location())
        except sqlite3.Error as error:
            raise EnvironmentProblem(
                f"MLflow store {store.shown()}: cannot be opened ({error}):"
                " check MLFLOW_TRACKING_URI"
            ) from error
    return store.shown()


def disk() -> str:
    """Space for data, checkpoints and caches."""
    free = shutil.disk_usage(store.folder().parent).free / 1e9
    if free < NEEDED_GB:
        raise EnvironmentProblem(f"{free:.1f} GB free: need {NEEDED_GB} GB: make room")
    return f"{free:.1f} GB free"


if __name__ == "__main__":
    cli.run(main)

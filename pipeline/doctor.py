"""Show what this machine has and what is missing."""

import configparser
import importlib.metadata
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text
from typer import Option

from dcgan.errors import DataError, EnvironmentProblem
from dcgan.tracking import provenance, store
from pipeline import cli, tables, workspace

PACKAGES = ("torch", "torchvision", "mlflow", "dvc", "great-expectations", "torch-fidelity")
NEEDED_GB = 2  # data, checkpoints, DVC's cache and the MLflow store of a few runs
NEEDED_MEMORY_GB = 4  # of the default parameters
Check = tuple[str, Callable[[], str]]


def main(
    data: Annotated[
        str | None, Option(help="A folder of pictures: say what will be done with it.")
    ] = None,
    deep: Annotated[
        bool,
        Option("--deep", metavar="", help="Also hash DVC's cache and the checkpoints: minutes."),
    ] = False,
) -> None:
    """Show what this machine has and what is missing: python -m pipeline doctor.

    Exit code 6 where something is missing or broken. With --data FOLDER it looks at a folder of
    pictures instead. It changes nothing.
    """
    if data is not None:
        about(data)
        return
    table = Table("", "", show_header=False)
    problems = []
    checks: list[Check] = [
        ("Python", platform.python_version), ("packages", packages), ("device", device),
        ("memory", memory), ("disk", disk), ("git", git), ("DVC", dvc), ("DVC remote", remote),
        ("MLflow store", mlflow_store), ("journal", journal), ("left over", left_over),
    ]  # fmt: skip
    if deep:
        checks += [("DVC cache", cache), ("checkpoints", checkpoints)]
    for title, check in checks:
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
    from dcgan.files import own_path
    from dcgan.raw import survey

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


def memory() -> str:
    """Memory that a stage can have."""
    import psutil

    free = psutil.virtual_memory().available / 1e9
    if free < NEEDED_MEMORY_GB:
        raise EnvironmentProblem(
            f"{free:.1f} GB free: need {NEEDED_MEMORY_GB} GB: end other programs"
        )
    return f"{free:.1f} GB free"


def remote() -> str:
    """Where `dvc push` goes, and whether what comes back is verified."""
    config = configparser.ConfigParser(strict=False, interpolation=None)
    config.read([".dvc/config", ".dvc/config.local"])
    name = config.get("core", "remote", fallback=None)
    if name is None:
        return "none: results stay on this machine"
    section = next(
        (each for each in config.sections() if each.strip("'") == f'remote "{name}"'), ""
    )
    url = store.shown(config.get(section, "url", fallback="no url"))
    if config.get(section, "verify", fallback="false").lower() != "true":
        return (
            f"{name}, {url}; a damaged object is not noticed when it comes back:"
            f" dvc remote modify {name} verify true"
        )
    return f"{name}, {url}"


def journal() -> str:
    """What waits to be sent to MLflow."""
    folder = store.journals()
    waiting = sum(1 for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else 0
    return f"{waiting} runs wait: python -m pipeline sync" if waiting else "nothing waits"


def left_over() -> str:
    """What processes that were killed have left half-written."""
    parts = workspace.left_over()
    if parts:
        raise EnvironmentProblem(
            f"{parts[0]}, among {len(parts)}: half-written by a process that was killed: delete"
            f" them: find {' '.join(workspace.OUTPUTS)} -name '.part-*' -delete"
        )
    return "nothing"


def cache() -> str:
    """Whether every object of DVC's cache has the content that its name says."""
    damaged, total = workspace.damaged_objects()
    if damaged:
        raise EnvironmentProblem(
            f"{damaged[0]}, among {len(damaged)} of {total}: damaged: delete them, then dvc repro"
        )
    return f"{total} objects, all as their names say"


def checkpoints() -> str:
    """Whether every checkpoint can be read."""
    damaged = list(_damaged_checkpoints())
    if damaged:
        raise EnvironmentProblem(
            f"{damaged[0]}: a training would go on from the checkpoint before; delete it"
        )
    return "all of them can be read"


def _damaged_checkpoints() -> Iterator[str]:
    from dcgan import files

    for path in sorted(files.scratch("train").glob("*/state-*.safetensors")):
        try:
            files.read_tensors(path, sealed=True)
        except DataError as error:
            yield str(error)


if __name__ == "__main__":
    cli.run(main)

"""Compare runs side by side: parameters, figures with verdicts, samples."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcgan.errors import ConfigError, DataError
from pipeline import cli

if TYPE_CHECKING:
    from dcgan.reports.side_by_side import Candidate

METRICS, RUN, PARAMS_FILE = "results/evaluate/metrics.json", "results/train/run.json", "params.yaml"
WEIGHTS = "models/generator.safetensors"
FILES = (PARAMS_FILE, METRICS, RUN, WEIGHTS, "models/generator.json")
NUM_IMAGES, SEED = 48, 0
ACCEPTED = "workspace, a DVC experiment's name, a git revision, or the name, id or fingerprint of an MLflow run"


def main(
    runs: Annotated[list[str], typer.Argument(help=f"Two or more; each is {ACCEPTED}.")],
    out: Annotated[Path, typer.Option(help="Folder for compare.md and compare.png.")] = Path(
        "results/compare"
    ),
) -> None:
    """Compare runs side by side: parameters, figures with verdicts, samples: python -m pipeline compare HEAD workspace."""
    if len(runs) < 2:
        raise ConfigError(f"compare: {runs[0]} alone: must be at least two, each {ACCEPTED}")
    from dcgan.config import reading, sections

    z = reading.load(sections.AllParams).gate.z
    from PIL import Image

    from dcgan import files
    from dcgan.reports import side_by_side

    candidates = [load(name) for name in runs]
    for candidate in candidates:
        side_by_side.check(candidate)
    text = side_by_side.markdown(candidates, z, "compare.png")
    with files.replacing(out / "compare.png") as temporary:
        Image.fromarray(side_by_side.picture(candidates, z)).save(temporary)
    files.write_text(out / "compare.md", text)
    print(text)
    print(f"{out / 'compare.md'} and {out / 'compare.png'}")


def load(name: str) -> "Candidate":
    """Find a run and read what is compared of it.

    Raises:
        ConfigError: there is no such run.
        DataError: its results are not at hand.
    """
    if name == "workspace":
        return read(name, Path())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        why = fetch_from_dvc(name, folder)
        if not why:
            return read(name, folder)
        run = fetch_from_mlflow(name, folder)
        if run:
            return read(name, folder, run)
    raise ConfigError(f"compare: {name}: {why}, and no such MLflow run: must be {ACCEPTED}")


def fetch_from_dvc(name: str, folder: Path) -> str | None:
    """Copy a revision's or experiment's files to a folder.

    Returns:
        What is wrong with the name, None where it is a good one.

    Raises:
        DataError: a file is neither in git nor in DVC's cache.
    """
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    with Repo() as repo:
        try:
            revision = resolve_rev(repo.scm, name)
        except RevError as error:
            return str(error)
    system = DVCFileSystem(rev=revision)
    for path in FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            system.get_file(path, str(folder / path))
        except FileNotFoundError as error:
            raise DataError(
                f"compare: {name}: {path} is neither in git nor in DVC's cache:"
                f" get it with `dvc exp pull` or `dvc fetch`, or make it with `dvc repro`"
            ) from error
    return None


def fetch_from_mlflow(name: str, folder: Path) -> Any | None:
    """Copy the newest such run's files to a folder; returns the run, or None where there is no such run.

    Raises:
        DataError: the run has no such files.
        EnvironmentProblem: the store does not open.
    """
    from dcgan.tracking import store

    path = store.sqlite_path(store.location())
    if "'" in name or (path and not path.exists()):
        return None
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client = store.connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for field in ("attributes.run_id", "attributes.run_name", "tags.fingerprint"):
        newest = ["attributes.start_time DESC"]
        found = (
            client.search_runs(experiments, f"{field} = '{name}'", max_results=1, order_by=newest)
            if experiments
            else []
        )
        if found:
            break
    else:
        return None
    id_ = found[0].info.run_id
    for artifact, target in (
        ("evaluate/metrics.json", METRICS), ("model/generator.safetensors", WEIGHTS), ("model/generator.json", FILES[-1]),
    ):  # fmt: skip
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(client.download_artifacts(id_, artifact, str(folder))).rename(folder / target)
        except Exception as error:  # whatever MLflow's stores raise
            raise DataError(
                f"compare: {name}: MLflow run {id_} has no {artifact}: evaluate it with `dvc repro`"
            ) from error
    return found[0]


def read(name: str, folder: Path, run: Any | None = None) -> "Candidate":
    """Read a run's files; an MLflow run has its parameters and data hash with it.

    Raises:
        DataError: a file is missing or damaged.
    """
    from dcgan import files
    from dcgan.config import keys, reading
    from dcgan.networks import exports, sampling
    from dcgan.reports.side_by_side import Candidate

    if run:
        params, data_sha256 = run.data.params, run.data.tags.get("data_sha256", "unknown")
    else:
        values = reading.read_yaml(folder / PARAMS_FILE)
        params = {key: str(value) for key, value in keys.flatten(values).items()}
        data_sha256 = files.read_json(folder / RUN)["data_sha256"]
    generator, _ = exports.load_generator(folder / WEIGHTS)
    images = sampling.sample(generator, NUM_IMAGES, seed=SEED)
    return Candidate(name, params, files.read_json(folder / METRICS), data_sha256, images)


if __name__ == "__main__":
    cli.run(main)

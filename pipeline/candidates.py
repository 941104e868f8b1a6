"""Find trained models by what people call their runs, in the workspace, in DVC and in MLflow."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dcgan.reports.side_by_side import Candidate

METRICS, RUN, PARAMS_FILE = "results/evaluate/metrics.json", "results/train/run.json", "params.yaml"
WEIGHTS, DESCRIPTION = "models/generator.safetensors", "models/generator.json"
FILES = (PARAMS_FILE, METRICS, RUN, WEIGHTS, DESCRIPTION)
# The names under which MLflow has three of them.
ARTIFACTS = {
    "evaluate/metrics.json": METRICS,
    "model/generator.safetensors": WEIGHTS,
    "model/generator.json": DESCRIPTION,
}
NUM_IMAGES, SEED = 48, 0
ACCEPTED = (
    "workspace, a DVC experiment's name, a git revision,"
    " or the name, id or fingerprint of an MLflow run"
)


def load(name: str) -> "Candidate":
    """Find a run and read the parts of it that are compared.

    Raises:
        ConfigError: no run has this name.
        DataError: its results are not at hand.
    """
    from dcgan.tracking import fetching

    if name == "workspace":
        return read(name, Path())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        why = fetch_from_dvc(name, folder)
        if not why:
            return read(name, folder)
        if run := fetching.newest(name):
            targets = {artifact: folder / path for artifact, path in ARTIFACTS.items()}
            try:
                fetching.copy(run, targets, folder)
            except DataError as error:
                raise DataError(f"compare: {name}: {error}") from error
            return read(name, folder, run)
    raise ConfigError(f"compare: {name}: {why}, and no such MLflow run: must be {ACCEPTED}")


def fetch_from_dvc(name: str, folder: Path) -> str | None:
    """Copy a revision's or experiment's files to a folder.

    Returns:
        What is wrong with the name; None if nothing is.

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
                " get it with `dvc exp pull` or `dvc fetch`, or make it with `dvc repro`"
            ) from error
    return None


def read(name: str, folder: Path, run: Any | None = None) -> "Candidate":
    """Read a run's files; an MLflow run has its parameters and data hash with it.

    Raises:
        DataError: a file is missing or damaged.
    """
    try:
        return _read(name, folder, run)
    except (ConfigError, DataError) as error:
        if folder == Path():
            raise
        # A reader knows the run, not the temporary folder that its files were copied to.
        raise DataError(str(error).replace(f"{folder}/", f"compare: {name}: ")) from error


def _read(name: str, folder: Path, run: Any | None) -> "Candidate":
    from dcgan import files
    from dcgan.config import keys, reading
    from dcgan.judging import figures
    from dcgan.networks import exports, sampling
    from dcgan.reports.side_by_side import Candidate

    if run:
        params, data_sha256 = run.data.params, run.data.tags.get("data_sha256", "unknown")
    else:
        values = reading.read_yaml(folder / PARAMS_FILE)
        if not isinstance(values, dict):
            raise DataError(f"{folder / PARAMS_FILE}: holds no keys: give another run")
        params = {key: str(value) for key, value in keys.flatten(values).items()}
        training = files.read_json(folder / RUN)
        if not isinstance(training, dict) or not isinstance(training.get("data_sha256"), str):
            raise DataError(f"{folder / RUN}: has no data_sha256: run train again")
        data_sha256 = training["data_sha256"]
    generator, _ = exports.load_generator(folder / WEIGHTS)
    images = sampling.sample(generator, NUM_IMAGES, seed=SEED)
    metrics = figures.read(files.read_json(folder / METRICS), name)
    return Candidate(name, params, metrics, data_sha256, images)

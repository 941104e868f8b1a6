"""Write the exported networks as a folder that MLflow registers and serves, without a pickle."""

import json
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan import files
from dcgan.config import reading
from dcgan.errors import DataError
from dcgan.promotion import bundle
from dcgan.tracking import store

if TYPE_CHECKING:
    from dcgan.tracking.runs import Run

LIBRARY = Path(__file__).resolve().parents[1]
# What a served model imports: the project's modules (a test follows the imports), and the packages
# with the versions of the lock.
MODULES = (
    "__init__.py", "data.py", "errors.py", "files.py", "networks/__init__.py",
    "networks/architecture.py", "networks/batches.py", "networks/exports.py",
    "networks/layers.py", "networks/models.py", "networks/sampling.py",
    "networks/weights.py", "rng.py",
)  # fmt: skip
PACKAGES = ("mlflow", "torch", "numpy", "pandas", "pillow", "safetensors")
LOCK = LIBRARY.parents[1] / "requirements.lock"


def write_model(folder: Path, models: Path, card: str) -> Path:
    """Write a model folder, complete and with the list of its sha256, or nothing.

    Args:
        folder: where; empty, or not there yet.
        models: has generator and discriminator, each as `.safetensors` and `.json`.
        card: the model card, Markdown; becomes README.md.

    Returns:
        `folder`.

    Raises:
        DataError: a network is missing or damaged, or a package is not in the lock.
        ConfigError: `folder` is not empty, or no folder.
        EnvironmentProblem: the folder cannot be written.
    """
    with bundle.making(folder) as temporary:
        _save(temporary, models)
        (temporary / "README.md").write_text(card)
        bundle.seal(temporary)
        bundle.check(temporary)
    return folder


def log_model(run: "Run", models: Path, card: str) -> None:
    """Log the exports to a run as a model folder, which MLflow loads, serves and registers."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_model(Path(temporary, "model"), models, card)
        run.log_folder(folder, "model")
        run.set_tags(tags(folder, "model"))


def tags(folder: Path, path: str) -> dict[str, str]:
    """The tags of a run that tell MLflow's pages that the artifacts under `path` are a model."""
    model = reading.read_yaml(folder / "MLmodel")
    keys = ("flavors", "utc_time_created", "model_uuid", "mlflow_version")
    entry = {"artifact_path": path, **{key: model[key] for key in keys}}
    return {"mlflow.log-model.history": json.dumps([entry])}


def requirements(lock: Path = LOCK) -> list[str]:
    """The packages that a served model needs, pinned as in the lock file.

    Raises:
        DataError: one of them is missing in the lock.
    """
    text = lock.read_text() if lock.is_file() else ""
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.M))
    if missing := [name for name in PACKAGES if name not in pins]:
        raise DataError(f"{lock}: has no {', '.join(missing)}: run `make lock`")
    return [f"{name}=={pins[name]}" for name in PACKAGES]


def _save(folder: Path, models: Path) -> None:
    quiet = {**store.ENVIRONMENT, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    for key, value in quiet.items():
        os.environ.setdefault(key, value)
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    def columns(**kinds: DataType) -> Schema:
        return Schema([ColSpec(kind, name) for name, kind in kinds.items()])

    whole, text = DataType.long, DataType.string
    inputs = columns(seed=whole, count=whole)
    outputs = columns(seed=whole, index=whole, png=text)
    model = Model(signature=ModelSignature(inputs=inputs, outputs=outputs))
    with tempfile.TemporaryDirectory() as code, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # hints for missing values
        package = Path(code, "dcgan")
        for name in MODULES:
            files.copy(LIBRARY / name, package / name)
        pyfunc.save_model(
            folder,
            python_model=LIBRARY / "promotion" / bundle.CODE,
            # As addresses, because MLflow decodes a plain path that has a % in it.
            artifacts={name: path.absolute().as_uri() for name, path in _networks(models).items()},
            code_paths=[str(package)],
            mlflow_model=model,
            input_example=pd.DataFrame({"seed": [7], "count": [2]}),
            pip_requirements=requirements(),
        )
    # MLflow writes where the files came from: paths of this machine.
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = bundle.CODE
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(folder / "MLmodel")


def _networks(models: Path) -> dict[str, Path]:
    """The four files, by the names that the code file uses."""
    paths = {}
    for network in ("generator", "discriminator"):
        paths[network] = models / f"{network}.safetensors"
        paths[f"{network}_description"] = models / f"{network}.json"
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path}: missing: run evaluate")
    return paths

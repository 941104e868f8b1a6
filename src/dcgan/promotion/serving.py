"""Write the exported networks as a folder that MLflow registers and serves: code file, safetensors and no pickle."""

import json
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

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
    "__init__.py", "config/__init__.py", "config/sections.py", "data.py", "errors.py", "files.py",
    "networks/__init__.py", "networks/exports.py", "networks/models.py", "networks/sampling.py", "rng.py",
)  # fmt: skip
PACKAGES = ("mlflow", "torch", "numpy", "pandas", "pillow", "safetensors", "pydantic")
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
        ConfigError: there is something at `folder`.
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
    """The tags of a run by which MLflow's pages know that the artifacts under `path` are a model."""
    about = reading.read_yaml(folder / "MLmodel")
    entry = {
        "artifact_path": path,
        **{
            key: about[key]
            for key in ("flavors", "utc_time_created", "model_uuid", "mlflow_version")
        },
    }
    return {"mlflow.log-model.history": json.dumps([entry])}


def requirements(lock: Path = LOCK) -> list[str]:
    """The packages that a served model needs, pinned as in the lock file.

    Raises:
        DataError: one of them is not there.
    """
    pins = (
        dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", lock.read_text(), re.M))
        if lock.is_file()
        else {}
    )
    if missing := [name for name in PACKAGES if name not in pins]:
        raise DataError(f"{lock}: has no {', '.join(missing)}: run `make lock`")
    return [f"{name}=={pins[name]}" for name in PACKAGES]


def _save(folder: Path, models: Path) -> None:
    for key, value in {
        **store.ENVIRONMENT,
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():
        os.environ.setdefault(key, value)
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.long, "seed"), ColSpec(DataType.long, "count")]),
        outputs=Schema(
            [
                ColSpec(DataType.long, "seed"),
                ColSpec(DataType.long, "index"),
                ColSpec(DataType.string, "png"),
            ]
        ),
    )
    model = Model(signature=signature)
    with tempfile.TemporaryDirectory() as code, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # hints about missing values, of which there are none
        package = Path(code, "dcgan")
        for name in MODULES:
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(LIBRARY / name, package / name)
        pyfunc.save_model(
            folder,
            python_model=LIBRARY / "promotion" / bundle.CODE,
            artifacts={name: str(path) for name, path in _networks(models).items()},
            code_paths=[str(package)],
            mlflow_model=model,
            input_example=pd.DataFrame({"seed": [7], "count": [2]}),
            pip_requirements=requirements(),
        )
    # MLflow writes where the files came from, which is nobody's business.
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = bundle.CODE
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(folder / "MLmodel")


def _networks(models: Path) -> dict[str, Path]:
    """The four files by the names that the code file knows them by."""
    paths = {}
    for network in ("generator", "discriminator"):
        paths[network] = models / f"{network}.safetensors"
        paths[f"{network}_description"] = models / f"{network}.json"
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path}: missing: run evaluate")
    return paths

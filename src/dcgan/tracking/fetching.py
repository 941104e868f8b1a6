"""Find a run in MLflow by what people call it, and copy some of its files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.errors import DataError
from dcgan.tracking import store

if TYPE_CHECKING:
    from mlflow.entities import Run


def newest(name: str) -> "Run | None":
    """The newest run with this id, name or fingerprint; None where there is no such run.

    Raises:
        EnvironmentProblem: the store does not open.
    """
    path = store.sqlite_path(store.location())
    if "'" in name or (path and not path.exists()):
        return None
    client = store.connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    if not experiments:
        return None
    for field in ("attributes.run_id", "attributes.run_name", "tags.fingerprint"):
        runs = client.search_runs(
            experiments,
            f"{field} = '{name}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if runs:
            return runs[0]
    return None


def copy(run: "Run", artifacts: Mapping[str, Path], folder: Path) -> None:
    """Copy artifacts of a run.

    Args:
        run: from `newest`.
        artifacts: by their path in the run, where each goes, below `folder`.
        folder: on the same disk.

    Raises:
        DataError: the run has no such file.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    client, id_ = store.connect(), run.info.run_id
    for artifact, target in artifacts.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(client.download_artifacts(id_, artifact, str(folder))).rename(target)
        except Exception as error:  # whatever MLflow's stores raise
            raise DataError(
                f"MLflow run {id_} has no {artifact}: evaluate it with `dvc repro`"
            ) from error

"""Read the registry in MLflow: versions of a model by number and alias, and the files of an address.

mlflow is imported only when a store is opened.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.errors import ConfigError, EnvironmentProblem, NoCheckpoint, UserError
from dcgan.promotion import bundle
from dcgan.tracking import store
from dcgan.tracking.provenance import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The store's own two seconds are for a training that must not wait; somebody who asks for a model
# will.
PATIENCE = "30"


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: int
    run_id: str | None
    tags: dict[str, str]


@contextlib.contextmanager
def opened(what: str) -> "Iterator[MlflowClient]":
    """The store for one task, `what` as the error names it; waits longer than a training would.

    Raises:
        EnvironmentProblem: the store fails, whatever MLflow raises.
    """
    before = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT")
    if before in (None, store.ENVIRONMENT["MLFLOW_HTTP_REQUEST_TIMEOUT"]):
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = PATIENCE
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        yield store.connect()
    except UserError:
        raise
    except Exception as error:  # whatever MLflow, SQLAlchemy or requests raise
        raise EnvironmentProblem(
            f"MLflow: cannot {what} ({store.one_line(error)}): look at the store, then run again"
        ) from error
    finally:
        if before is None:
            os.environ.pop("MLFLOW_HTTP_REQUEST_TIMEOUT", None)
        else:
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = before


def of(found: Any) -> Version:
    """MLflow's version as ours."""
    return Version(found.name, int(found.version), found.run_id or None, dict(found.tags))


def every(client: "MlflowClient", model: str) -> list[Version]:
    """All versions of a model, newest first; none where there is no such model."""
    found: list[Version] = []
    token = None
    while token != "":
        page = client.search_model_versions(f"name = '{model}'", max_results=1000, page_token=token)
        found += map(of, page)
        token = page.token or ""
    return sorted(found, key=lambda version: version.number, reverse=True)


def by_number(client: "MlflowClient", model: str, number: int) -> Version:
    """One version.

    Raises:
        NoCheckpoint: there is no such version.
    """
    return _found(lambda: client.get_model_version(model, str(number)), f"models:/{model}/{number}")


def by_alias(client: "MlflowClient", model: str, name: str) -> Version:
    """The version that an alias points at.

    Raises:
        NoCheckpoint: there is no such model or alias.
    """
    return _found(lambda: client.get_model_version_by_alias(model, name), f"models:/{model}@{name}")


def source(client: "MlflowClient", uri: str) -> tuple[str, str | None]:
    """Where the files of an address are, and the sha256 of their list where a version says it.

    Raises:
        ConfigError: the address is of no known kind.
        NoCheckpoint: there is no such version.
    """
    if match := re.fullmatch(r"models:/([\w .-]+)@([\w.-]+)", uri):
        found = by_alias(client, match[1], match[2])
    elif match := re.fullmatch(r"models:/([\w .-]+)/(\d{1,9})", uri):
        found = by_number(client, match[1], int(match[2]))
    elif re.fullmatch(r"runs:/\w+/[^\s?#]+", uri):
        return uri, None
    else:
        raise ConfigError(
            f"{uri}: must be models:/NAME@ALIAS, models:/NAME/NUMBER, runs:/ID/PATH, a file or a folder"
        )
    return files_of(client, found), found.tags.get("manifest_sha256")


def files_of(client: "MlflowClient", version: Version) -> str:
    """Where the files of a version are."""
    return str(client.get_model_version_download_uri(version.name, str(version.number)))


def download(source: str, folder: Path) -> None:
    """Bring the files at `source` into a folder, one at a time, and only under names that a model may have.

    Raises:
        NoCheckpoint: there are none.
        DataError: one of the names would leave the folder, or is of another kind.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        repository = get_artifact_repository(source, tracking_uri=store.location())
    except MlflowException as error:
        raise NoCheckpoint(
            f"{redact(source)}: cannot be found ({store.one_line(error)})"
        ) from error
    names: list[str] = []
    folders: list[str | None] = [None]
    for folder_name in folders:  # which grows meanwhile
        for entry in repository.list_artifacts(folder_name):
            if entry.path.rpartition("/")[2] not in bundle.ADDED:
                (folders if entry.is_dir else names).append(entry.path)
        bundle.check_names([*names, *(f"{name}/any.json" for name in folders[1:])])
    if not names:
        raise NoCheckpoint(f"{redact(source)}: there is no model")
    for name in names:
        repository.download_artifacts(name, str(folder))


def _found(ask: Callable[[], Any], what: str) -> Version:
    from mlflow.exceptions import MlflowException

    try:
        return of(ask())
    except MlflowException as error:
        # An alias that does not exist is an invalid parameter to MLflow.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise NoCheckpoint(
                f"{what}: {store.one_line(error)}: `python -m pipeline ui` shows what there is"
            ) from error
        raise

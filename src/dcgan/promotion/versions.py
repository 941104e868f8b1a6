"""Read the registry in MLflow: versions of a model by number and alias, and an address's files.

mlflow is imported only when a store is opened.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.errors import ConfigError, DataError, EnvironmentProblem, NoCheckpoint, UserError
from dcgan.promotion import bundle
from dcgan.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient


MAX_BYTES = 4 << 30  # of a model; one of the largest recipe has 0.15 GB


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: int
    run_id: str | None
    tags: dict[str, str]


@contextlib.contextmanager
def opened(what: str) -> "Iterator[MlflowClient]":
    """The store for one task, which the error names: "cannot " and `what`.

    Raises:
        EnvironmentProblem: the store fails, whatever MLflow raises.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        yield store.connect()
    except UserError:
        raise
    except Exception as error:  # whatever MLflow, SQLAlchemy or requests raise
        raise EnvironmentProblem(
            f"MLflow: cannot {what} ({store.one_line(error)}): look at the store, then run again"
        ) from error


def of(theirs: Any) -> Version:
    """MLflow's version as ours."""
    return Version(theirs.name, int(theirs.version), theirs.run_id or None, dict(theirs.tags))


def every(client: "MlflowClient", model: str) -> list[Version]:
    """All versions of a model, newest first; none where the model does not exist."""
    versions: list[Version] = []
    token = None
    while token != "":
        page = client.search_model_versions(f"name = '{model}'", max_results=1000, page_token=token)
        versions += map(of, page)
        token = page.token or ""
    return sorted(versions, key=lambda version: version.number, reverse=True)


def by_number(client: "MlflowClient", model: str, number: int) -> Version:
    """One version.

    Raises:
        NoCheckpoint: the version does not exist.
    """
    return _one(lambda: client.get_model_version(model, str(number)), f"models:/{model}/{number}")


def by_alias(client: "MlflowClient", model: str, name: str) -> Version:
    """The version that an alias points at.

    Raises:
        NoCheckpoint: the model or the alias does not exist.
    """
    return _one(lambda: client.get_model_version_by_alias(model, name), f"models:/{model}@{name}")


def source(client: "MlflowClient", uri: str) -> tuple[str, str | None]:
    """Where the files of an address are, and the sha256 of their list where a version says it.

    Raises:
        ConfigError: the address is of an unknown kind.
        NoCheckpoint: the version does not exist.
    """
    if match := re.fullmatch(r"models:/([\w .-]+)@([\w.-]+)", uri):
        version = by_alias(client, match[1], match[2])
    elif match := re.fullmatch(r"models:/([\w .-]+)/(\d{1,9})", uri):
        version = by_number(client, match[1], int(match[2]))
    elif re.fullmatch(r"runs:/\w+/[^\s?#]+", uri):
        return uri, None
    else:
        raise ConfigError(
            f"{uri}: must be models:/NAME@ALIAS, models:/NAME/NUMBER, runs:/ID/PATH, a file or a"
            " folder"
        )
    return files_of(client, version), version.tags.get("manifest_sha256")


def files_of(client: "MlflowClient", version: Version) -> str:
    """Where the files of a version are."""
    return str(client.get_model_version_download_uri(version.name, str(version.number)))


def download(source: str, folder: Path) -> None:
    """Download the files at `source` one at a time, after all their names are checked.

    Raises:
        NoCheckpoint: no file is there.
        DataError: a name would leave the folder, or is of a kind that no model has; the files are
            larger than models are, or than the store says.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        repository = get_artifact_repository(source, tracking_uri=store.location())
    except MlflowException as error:
        raise NoCheckpoint(
            f"{store.shown(source)}: cannot be found ({store.one_line(error)})"
        ) from error
    names: list[str] = []
    sizes: dict[str, int] = {}  # bytes, as the store says; 0: it does not
    folders: list[str | None] = [None]
    for folder_name in folders:  # the list grows in the loop
        for entry in repository.list_artifacts(folder_name):
            if entry.path.rpartition("/")[2] not in bundle.ADDED:
                (folders if entry.is_dir else names).append(entry.path)
                sizes[entry.path] = entry.file_size or 0
        bundle.check_names([*names, *(f"{name}/any.json" for name in folders[1:])])
    if not names:
        raise NoCheckpoint(f"{store.shown(source)}: has no model")
    whole = sum(sizes.values())
    if whole > MAX_BYTES:
        raise DataError(
            f"{store.shown(source)}: its files have {whole} bytes, expected at most {MAX_BYTES}:"
            " is it the right model?"
        )
    for name in names:
        repository.download_artifacts(name, str(folder))
        size = (folder / name).stat().st_size
        if size > (sizes[name] or MAX_BYTES):
            raise DataError(
                f"{store.shown(source)}: {name} has {size} bytes, {sizes[name]} were announced:"
                " refused"
            )


def _one(ask: Callable[[], Any], what: str) -> Version:
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

"""Where the runs and models are kept: the MLflow store's address, how it is made, what is in it.

A store that does not answer fails within seconds, where MLflow itself would try for minutes. mlflow
is imported only when a store is opened.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dcgan.errors import EnvironmentProblem
from dcgan.redaction import clean, redact
from dcgan.tracking import moving

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

# Set before mlflow is imported, unless the user has set them.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # With MLflow's own values a call may take four minutes. These allow 30 s, for a large file or a
    # model that is fetched; a training does not wait for them.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # Our one warning says what MLflow, SQLAlchemy and alembic would say in fifty lines.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    # It prints the store's address with the password in it.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
ANSWER_TIMEOUT = 4  # seconds that a server may take for its first answer
SQLITE_TIMEOUT = 5  # seconds that another writer may hold the store
LOCK_TIMEOUT = 60  # seconds that another process may take to create it


def location() -> str:
    """Address of the store: MLFLOW_TRACKING_URI, or else a sqlite file in DVC's main workspace.

    In the main workspace also when DVC runs an experiment in a copy of it, which is thrown away.
    """
    # SQLAlchemy decodes what stands for these two, and takes every other character as it is.
    path = str(folder() / "mlflow.db").replace("%", "%25").replace("?", "%3F")
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"sqlite:///{path}"


def shown(uri: str | None = None) -> str:
    """The store's address, or that of something in it, as messages show it: without secrets."""
    return redact(uri or location())


def artifacts(uri: str) -> Path | None:
    """Folder of the artifacts, beside a sqlite store; None where a server has its own."""
    path = sqlite_path(uri)
    return path.parent / "artifacts" if path else None


def is_new() -> bool:
    """Whether the store is a sqlite file that is not there yet."""
    path = sqlite_path(location())
    return path is not None and not path.exists()


def connect() -> "MlflowClient":
    """Open the store, and create it if it is not there.

    Raises:
        EnvironmentProblem: it does not open within seconds.
    """
    try:
        with lock():
            client = open_client(location(), create=True)
            client.search_experiments(max_results=1)
            return client
    except Exception as error:  # whatever MLflow, SQLAlchemy or requests raise
        # Not even --debug may show MLflow's own error: it names the whole address.
        raise EnvironmentProblem(
            f"MLflow store {shown()}: cannot be opened ({one_line(error)}):"
            " check MLFLOW_TRACKING_URI"
        ) from None


@contextlib.contextmanager
def as_default() -> Iterator[None]:
    """Let MLflow take this store by itself in the body: some of its calls know of no other."""
    from mlflow.tracking import set_tracking_uri

    before = os.environ.get("MLFLOW_TRACKING_URI")
    set_tracking_uri(location())
    try:
        yield
    finally:
        set_tracking_uri(None)  # type: ignore[arg-type]  # MLflow itself does so: it unsets the variable, too
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def folder() -> Path:
    """The folder of the local store, of its lock, and of what waits to be sent to any store."""
    return Path(os.environ.get("DVC_ROOT") or ".").absolute() / ".mlflow"


def journals() -> Path:
    """Where all runs' journals are: in the main workspace, as `location`."""
    return folder() / "journal"


def lock(
    name: str = "lock", seconds: float = LOCK_TIMEOUT
) -> contextlib.AbstractContextManager[Any]:
    """The lock to hold while a store, an experiment or a run is looked for and, if missing, made.

    One process of this machine holds it at a time. What takes longer has a lock of another `name`,
    for which others wait so many `seconds`.
    """
    from filelock import FileLock

    folder().mkdir(parents=True, exist_ok=True)
    return FileLock(folder() / name, timeout=seconds)


def prepare(uri: str) -> None:
    """Import MLflow with our settings."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if sqlite_path(uri):
        # A connection that is kept would still write to a file that has been replaced.
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    # It announces every retry.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    import mlflow  # noqa: F401

    if not uri.startswith("http"):
        from mlflow.store.db import utils

        # Ten tries to open a database take 100 s.
        utils.MAX_RETRY_COUNT = 1


def open_client(uri: str, *, create: bool = False) -> "MlflowClient":
    """A client with our settings; fails within seconds where nothing answers.

    Args:
        uri: of the store.
        create: make a sqlite file that is missing; needs `lock`.
    """
    path = sqlite_path(uri)
    if path and create:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    check(uri)
    if path and (place := artifacts(uri)):
        moving.follow(path, place, SQLITE_TIMEOUT)
    prepare(uri)
    from mlflow import MlflowClient

    if uri.startswith("http"):
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        # Any answer shows that the server runs; MLflow's own calls wait much longer for one.
        http_request(
            get_default_host_creds(uri), "/health", "GET",
            timeout=ANSWER_TIMEOUT, max_retries=0, raise_on_status=False,
        )  # fmt: skip
    return MlflowClient(tracking_uri=uri)


def check(uri: str) -> None:
    """Take a sqlite store's write lock for a moment, to learn of trouble within seconds.

    MLflow itself tries for 20 to 100 s.
    """
    path = sqlite_path(uri)
    if path:
        # mode=rw, because a store that was deleted must not come back empty.
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=SQLITE_TIMEOUT)
        ) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()


def experiment(client: "MlflowClient", uri: str, name: str) -> str:
    """Id of an experiment, which is made where it is missing. Needs `lock`."""
    existing = client.get_experiment_by_name(name)
    if existing:
        return str(existing.experiment_id)
    place = artifacts(uri)
    artifact_location = (place / name).as_uri() if place else None
    return str(client.create_experiment(name, artifact_location=artifact_location))


def newest_run(
    client: "MlflowClient", experiments: Sequence[str], condition: str
) -> "MlflowRun | None":
    """The newest run that meets a condition in MLflow's words, or None.

    Args:
        client: of the store.
        experiments: ids of the experiments to look in.
        condition: such as `tags.fingerprint = '...'`.
    """
    if not experiments:
        return None
    newest = ["attributes.start_time DESC"]
    runs = client.search_runs(list(experiments), condition, max_results=1, order_by=newest)
    return runs[0] if runs else None


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite store; None for any other."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])).absolute()


def one_line(error: Exception) -> str:
    """An error as one line without secrets, at most 200 characters."""
    text: str = clean(" ".join(f"{type(error).__name__}: {error}".split()))
    return text[:200]

"""One MLflow run per training, found again by its fingerprint; a store that fails costs seconds, never the training.

Imports mlflow only when a store is opened.
"""

import contextlib
import functools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from dcgan import store
from dcgan.errors import Stopped
from dcgan.provenance import Value, environment_tags, redact

if TYPE_CHECKING:
    import numpy as np

P = ParamSpec("P")
log = logging.getLogger(__name__)


@contextlib.contextmanager
def run(
    fingerprint: str, *, dataset: str, name: str | None = None, tags: Mapping[str, Value | None] | None = None
) -> Iterator["Run"]:
    """Continue the newest run with this fingerprint, or start one; it ends as FINISHED, FAILED or KILLED as the body does.

    Args:
        fingerprint: names the training; from results/train/run.json in the stages after train.
        dataset: names the experiment that the run belongs to.
        name: shown in MLflow for a new run; None: dataset and fingerprint, as the column `mlflow_run` of `dvc exp show`.
        tags: more tags, None values left out.
    """
    current = Run()
    current.open(fingerprint, dataset, name)
    current.set_tags(tags or {})
    status = "FAILED"
    try:
        yield current
        status = "FINISHED"
    except (Stopped, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        current.close(status)


def _write(method: "Callable[Concatenate[Run, P], None]") -> "Callable[Concatenate[Run, P], None]":
    """The one way to the store: nothing raises, and the first failure is one warning and the last call.

    A local journal would note method and arguments here: every method may be repeated without a second effect.
    """

    @functools.wraps(method)
    def guarded(self: "Run", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.off:
            return
        try:
            if self.id:
                store.check(store.location())
            method(self, *args, **kwargs)
        except Exception as error:  # whatever MLflow, SQLAlchemy or requests raise must not end a training
            self.off = True
            where = redact(store.location())
            log.warning("MLflow store %s failed (%s): the work goes on, nothing more is logged there", where, store.one_line(error))

    return guarded


class Run:
    """One run in the store, for a stage to write to."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.off = False
        self._points: dict[str, dict[int, float]] = {}  # by metric and step, what the store has
        self._images: set[str] | None = None

    @_write
    def open(self, fingerprint: str, dataset: str, name: str | None) -> None:
        """Find the run or create it; see `run`."""
        with store.lock():
            self._client = store.open_client(store.location())
            experiment = self._experiment(f"dcgan-{dataset}")
            same = f"tags.fingerprint = '{fingerprint}'"
            found = self._client.search_runs([experiment], same, max_results=1, order_by=["attributes.start_time DESC"])
            if found:
                self._id = found[0].info.run_id
                self._client.update_run(self._id, status="RUNNING")
            else:
                name = name or f"{dataset}-{fingerprint[:8]}{fingerprint[16:]}"  # the end is the number of epochs
                tags = {"fingerprint": fingerprint, **environment_tags()}
                self._id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
        self.id = self._id

    @_write
    def log_params(self, params: Mapping[str, Value]) -> None:
        """Log flat parameters (see `flatten`); one that the run has with another value keeps the first and warns."""
        from mlflow.entities import Param

        logged = self._client.get_run(self._id).data.params
        new = []
        for key, value in params.items():
            text = redact(str(value))
            if key not in logged:
                new.append(Param(key, text))
            elif logged[key] != text:
                log.warning("MLflow run %s keeps %s = %s, although it is %s now", self._id, key, logged[key], text)
        for start in range(0, len(new), 100):
            self._client.log_batch(self._id, params=new[start : start + 100])

    def log_rows(self, rows: Iterable[Mapping[str, float | None]]) -> None:
        """Log rows of `step` and metrics; a step that the store has is skipped, so a repeated or resumed training adds no point."""
        self._log_metrics(rows, replace=False)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log figures; a changed one supersedes the old, an equal one adds no point."""
        self._log_metrics([{"step": step, **metrics}], replace=True)

    @_write
    def _log_metrics(self, rows: Iterable[Mapping[str, float | None]], *, replace: bool) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        points, tags = [], {}
        for row in rows:
            step = int(row["step"] or 0)
            for key, number in row.items():
                if key == "step" or number is None:
                    continue
                value = float(number)
                if not math.isfinite(value):
                    # MLflow stores inf as the largest float, which flattens every chart.
                    tags[f"{key}.not_finite"] = f"{value} at step {step}"
                    continue
                known = self._known(key)
                if step not in known or (replace and known[step] != value):
                    known[step] = value
                    points.append(Metric(key, value, now, step))
        for start in range(0, len(points), 1000):
            self._client.log_batch(self._id, metrics=points[start : start + 1000])
        self.set_tags(tags)

    @_write
    def log_image(self, image: "Path | np.ndarray[Any, Any]", key: str, step: int) -> None:
        """Log a file or an H x W (x 3) uint8 array under a key with a step slider, unless the store has that step."""
        from PIL import Image

        if self._images is None:
            self._images = {file.path.partition("+timestamp")[0] for file in self._client.list_artifacts(self._id, "images")}
        # The name that MLflow gives, up to the time.
        name = f"images/{key.replace('/', '~')}+step+{step}"
        if name in self._images or _missing(image):
            return
        if isinstance(image, Path):
            with Image.open(image) as picture:
                self._client.log_image(self._id, picture, key=key, step=step)
        else:
            self._client.log_image(self._id, image, key=key, step=step)
        self._images.add(name)

    @_write
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into a folder of the run's artifacts."""
        if not _missing(path):
            self._client.log_artifact(self._id, str(path), folder)

    @_write
    def log_folder(self, path: Path, folder: str) -> None:
        """Copy a folder's content into a folder of the run's artifacts."""
        if not _missing(path):
            self._client.log_artifacts(self._id, str(path), folder)

    def log_model(self, weights: Path, folder: str = "model") -> None:
        """Copy an export, its safetensors and the JSON beside it, into the run's artifacts."""
        self.log_file(weights, folder)
        self.log_file(weights.with_suffix(".json"), folder)

    @_write
    def set_tags(self, tags: Mapping[str, Value | None]) -> None:
        """Set tags; None values are left out."""
        from mlflow.entities import RunTag

        texts = [RunTag(key, redact(str(value))) for key, value in tags.items() if value is not None]
        if texts:
            self._client.log_batch(self._id, tags=texts)

    def describe(self, markdown: str) -> None:
        """Set the description at the head of the run's page."""
        self.set_tags({"mlflow.note.content": markdown})

    @_write
    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED; opened again, it goes on."""
        self._client.set_terminated(self._id, status)

    def _known(self, key: str) -> dict[int, float]:
        """What the store has of a metric, by step."""
        if key not in self._points:
            history = self._client.get_metric_history(self._id, key)
            self._points[key] = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        return self._points[key]

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        folder = store.artifacts(store.location())
        return self._client.create_experiment(name, artifact_location=(folder / name).as_uri() if folder else None)


def _missing(image: "Path | np.ndarray[Any, Any]") -> bool:
    # Not the store's fault, so no reason to give up on it.
    if isinstance(image, Path) and not image.exists():
        log.warning("%s: missing, not logged to MLflow", image)
        return True
    return False

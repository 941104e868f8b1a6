"""Send the journal to the store; an entry that is sent twice is stored once.

A point's time is fixed when it is noted; key, time, step and value together are a point's identity
in MLflow's database. So what a killed sender had sent but not marked is sent again and changes
nothing. A step that a resumed training logs again has another time, so it is compared with what the
store has. One process at a time sends a run.
"""

import json
import logging
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.tracking import journal, store
from dcgan.tracking.journal import Entry, Session
from dcgan.tracking.names import NOTE, RUN_ID, SHA256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

log = logging.getLogger(__name__)

POINTS, TEXTS = 1000, 100  # metrics, and parameters or tags, that one call takes
THUMBNAIL = 256  # pixels, the longer side of what MLflow's image slider shows first
# The run was deleted, the store replaced, or another process made the experiment a moment before:
# look again.
MOVED = {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
# What the store will never take, however often it is asked.
# The last two: a server of before MLflow 3, which knows no models but the registered ones.
REFUSALS = {
    "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "ENDPOINT_NOT_FOUND",
    "NOT_IMPLEMENTED",
}  # fmt: skip
HTTP_REFUSALS = {400, 413, 415, 422}


class Sender:
    """Sends the journal of one run.

    Remembers what the store has of the run until another process sends it.
    """

    def __init__(self, run: Path, uri: str) -> None:
        self.run, self.uri = run, uri
        self.points = self.files = 0  # sent so far
        self.progress = 0  # rises whenever the store has done something
        self.run_id: str | None = None  # once the run is found or made
        self._token = uuid.uuid4().hex
        self._refused: set[str] = set()
        self._points: dict[str, dict[int, dict[int, float]]] = {}
        self._images: set[tuple[str, str]] | None = None
        self._operations: dict[str, Callable[[str, Entry, Session], None]] = {
            "params": self._send_params, "tags": self._send_tags, "points": self._send_points,
            "image": self._send_image, "file": self._send_file, "dataset": self._send_dataset,
            "model": self._send_model,
            "close": self._send_close,
        }  # fmt: skip

    def send(
        self, client: "MlflowClient", *, wait: bool = True, stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Send what waits, session after session, and delete the sessions that have ended.

        Args:
            client: of the store.
            wait: whether to wait for another process that sends this run, or leave it to that one.
            stop: asked before every entry.

        Returns:
            Whether everything is sent.

        Raises:
            Exception: whatever MLflow, SQLAlchemy or requests raise when the store fails; what is
                sent is marked.
        """
        self._client = client
        try:
            with journal.lock(self.run, wait=wait) as is_held:
                if not is_held:
                    return False
                sessions = journal.sessions(self.run)
                if sessions and not journal.was_last_sender(self.run, self._token):
                    self._forget()
                done = all([self._send_session(session, stop) for session in sessions])
                journal.tidy(self.run)
                return done
        except FileNotFoundError:
            if self.run.exists():
                raise
            return True  # another process has sent it all and deleted the folder

    def _send_session(self, session: Session, stop: Callable[[], bool]) -> bool:
        session.close_if_killed()
        opening = session.first()
        if opening is None or opening["op"] != "open":
            if not session.alive():
                session.delete()  # the disk was full, or its writer was killed at once
            return True
        last: Entry | None = None
        for entry, sent in journal.merged(session.unsent(), POINTS):
            if stop():
                return False
            store.check(self.uri)
            self._apply(session, opening, entry)
            session.mark(sent)
            self.progress += 1
            if "file" in entry:
                session.drop(entry["file"])
            last = entry
        has_ended = last is not None and last["op"] == "close"
        was_sent_before = last is None and not session.alive()
        if has_ended or was_sent_before:
            session.delete()
        return True

    def _apply(self, session: Session, opening: Entry, entry: Entry) -> None:
        """Send one entry; the run is found or made first, and again if it has moved."""
        for last_try in (False, True):
            try:
                if not self.run_id or entry["op"] == "open":
                    self._open(opening)
                if entry["op"] != "open":
                    assert self.run_id
                    self._operations[entry["op"]](self.run_id, entry, session)
                return
            except Exception as error:
                code = getattr(error, "error_code", None)
                if code in MOVED and not last_try:
                    self._forget()
                    continue
                # The server of artifacts answers in plain HTTP.
                status = getattr(getattr(error, "response", None), "status_code", None)
                if not self.run_id or not (code in REFUSALS or status in HTTP_REFUSALS):
                    raise
                self._warn_once(entry["op"], store.one_line(error))
                return

    def _warn_once(self, operation: str, reason: str) -> None:
        if operation not in self._refused:
            self._refused.add(operation)
            log.warning("MLflow run %s does not take %s (%s)", self.run_id, operation, reason)

    def _open(self, entry: Entry) -> None:
        """Find the newest run with the fingerprint, or create it."""
        with store.lock():
            experiment = store.experiment(self._client, self.uri, f"dcgan-{entry['dataset']}")
            self.progress += 1
            same = f"tags.fingerprint = '{entry['fingerprint']}'"
            run = store.newest_run(self._client, [experiment], same)
            if run:
                self._client.update_run(run.info.run_id, status="RUNNING")
                self._add_experiment(run, entry["tags"].get("dvc_experiment"))
            else:
                run = self._client.create_run(
                    experiment, entry["at"], {**entry["tags"]}, run_name=entry["name"]
                )
        if run.info.run_id != self.run_id:
            self._forget()
        self.run_id = run.info.run_id

    def _add_experiment(self, run: "MlflowRun", name: str | None) -> None:
        """Add a DVC experiment to the tag, which names all experiments with this training."""
        names = [name for name in run.data.tags.get("dvc_experiment", "").split(", ") if name]
        if name and name not in names:
            self._client.set_tag(run.info.run_id, "dvc_experiment", ", ".join([*names, name]))

    def _send_params(self, run_id: str, entry: Entry, _: Session) -> None:
        from mlflow.entities import Param

        logged = self._client.get_run(run_id).data.params
        for key, text in entry["params"].items():
            if logged.get(key, text) != text:
                warning = "MLflow run %s keeps %s = %s, although it is %s now"
                log.warning(warning, run_id, key, logged[key], text)
        new = [Param(key, text) for key, text in entry["params"].items() if key not in logged]
        for part in _parts(new, TEXTS):
            self._client.log_batch(run_id, params=part)

    def _send_tags(self, run_id: str, entry: Entry, _: Session) -> None:
        from mlflow.entities import RunTag

        tags = {
            key: text.replace(RUN_ID, run_id) if key == NOTE else text
            for key, text in entry["tags"].items()
        }
        for part in _parts([RunTag(key, text) for key, text in tags.items()], TEXTS):
            self._client.log_batch(run_id, tags=part)

    def _send_points(self, run_id: str, entry: Entry, _: Session) -> None:
        from mlflow.entities import Metric

        points = []
        for key, step, value, at, replace in entry["points"]:
            stored = self._stored(run_id, key)
            place = _place(stored, step, value, at, replace)
            if place:
                step, time = place
                stored.setdefault(step, {})[time] = value
                points.append(Metric(key, value, time, step))
        try:
            for part in _parts(points, POINTS):
                self._client.log_batch(run_id, metrics=part)
                self.points += len(part)
                self.progress += 1
        except BaseException:
            self._points.clear()  # the store may have taken some of them
            raise

    def _send_image(self, run_id: str, entry: Entry, session: Session) -> None:
        """Send an image as `MlflowClient.log_image` does, except for its name.

        The name is the same whenever the entry is sent.
        """
        from PIL import Image

        if self._images is None:
            listed = self._client.list_artifacts(run_id, "images")
            self._images = {
                (Path(file.path).name.partition("+timestamp")[0], Path(file.path).suffix)
                for file in listed
            }
        name = f"{entry['key'].replace('/', '~')}+step+{entry['step']}"
        both = {(name, ".png"), (name, ".webp")}
        path = session.folder / entry["file"]
        if both <= self._images or not _exists(path):
            return
        self._client.set_tag(run_id, "mlflow.loggedImages", True)
        same_always = uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id} {name}")
        stem = f"{name}+timestamp+{entry['at']}+{same_always}"
        with tempfile.TemporaryDirectory() as folder, Image.open(path) as picture:
            picture.save(Path(folder) / f"{stem}.png")
            small = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")
            scale = THUMBNAIL / max(small.size)
            small = small.resize([max(1, round(side * scale)) for side in small.size])
            small.save(Path(folder) / f"{stem}+compressed.webp")
            self._client.log_artifacts(run_id, folder, "images")
        self._images |= both
        self.files += 1

    def _send_file(self, run_id: str, entry: Entry, session: Session) -> None:
        path = session.folder / entry["file"]
        if _exists(path):
            self._client.log_artifact(run_id, str(path), entry["folder"])
            self.files += 1

    def _send_dataset(self, run_id: str, entry: Entry, _: Session) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source, about = entry["source"], entry.get("about")  # older journals have none
        kind, key = ("http", "url") if "://" in source else ("external", "uri")
        data = Dataset(
            entry["name"], entry["digest"], source_type=kind, source=json.dumps({key: source}),
            schema=_schema(about["shape"]) if about else None,
            profile=json.dumps(about) if about else None,
        )  # fmt: skip
        context = InputTag("mlflow.data.context", entry["context"])
        self._client.log_inputs(run_id, datasets=[DatasetInput(data, [context])])

    def _send_model(self, run_id: str, entry: Entry, _: Session) -> None:
        """Find the run's model of these weights or make it, and log the figures that it lacks."""
        from mlflow.entities import LoggedModelStatus, Metric

        experiment = self._client.get_run(run_id).info.experiment_id
        named = f"name = '{entry['name']}' AND source_run_id = '{run_id}'"
        models = self._client.search_logged_models([experiment], filter_string=named)
        model = next((each for each in models if each.tags.get(SHA256) == entry["sha256"]), None)
        if model is None:
            model = self._client.create_logged_model(
                experiment, entry["name"], run_id, tags={SHA256: entry["sha256"]},
                params=entry["params"],
            )  # fmt: skip
        known = {(metric.key, metric.value) for metric in model.metrics or []}
        about = {
            "model_id": model.model_id, "run_id": run_id,
            "dataset_name": entry["dataset"], "dataset_digest": entry["digest"],
        }  # fmt: skip
        points = [
            Metric(key, value, entry["at"], entry["step"], **about)
            for key, value in entry["metrics"].items()
            if (key, value) not in known
        ]
        if points:
            self._client.log_batch(run_id, metrics=points)
            self.points += len(points)
        if model.status != LoggedModelStatus.READY:
            self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def _send_close(self, run_id: str, entry: Entry, _: Session) -> None:
        self._client.set_terminated(run_id, entry["status"], entry["at"])

    def _stored(self, run_id: str, key: str) -> dict[int, dict[int, float]]:
        """What the store has of a metric: values by step and time."""
        if key not in self._points:
            values: dict[int, dict[int, float]] = {}
            for point in self._client.get_metric_history(run_id, key):
                values.setdefault(point.step, {})[point.timestamp] = point.value
            self._points[key] = values
            self.progress += 1
        return self._points[key]

    def _forget(self) -> None:
        self.run_id = None
        self._points = {}
        self._images = None


def _schema(shape: Sequence[int]) -> str:
    """Of uint8 images C x H x W and their labels, as MLflow writes that of arrays."""
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.types import Schema, TensorSpec

    images, labels = (
        Schema([TensorSpec(np.dtype(dtype), (-1, *rest), name)])
        for name, dtype, rest in (("images", np.uint8, shape), ("labels", np.int64, ()))
    )
    return json.dumps(TensorDatasetSchema(images, labels).to_dict())


def _place(
    stored: Mapping[int, Mapping[int, float]],
    step: int | None,
    value: float,
    at: int,
    replace: bool,
) -> tuple[int, int] | None:
    """Step and time at which a point is to be sent; None if the store has the point.

    Args:
        stored: what the store has of the metric, values by step and time.
        step: None: the one after the last, for what is measured by the clock.
        value: of the point.
        at: ms since 1970, when it was noted.
        replace: whether another value supersedes the one that this step has.
    """
    if step is None:
        is_stored = any(at in times for times in stored.values())
        return None if is_stored else (max(stored, default=-1) + 1, at)
    times = stored.get(step)
    if not times:
        return step, at
    latest = max(times)
    if not replace or times.get(at) == value or times[latest] == value:
        return None
    # The clock may have been set back, and MLflow shows the latest.
    return step, max(at, latest + 1)


def _parts(values: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(values[start : start + size]) for start in range(0, len(values), size)]


def _exists(path: Path) -> bool:
    # It was sent before, or its copy was deleted from the journal.
    if not path.exists():
        log.debug("%s: missing, not logged to MLflow", path)
    return path.exists()

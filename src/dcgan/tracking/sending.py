"""From the journal to the store: every operation may be repeated without a second effect, so what was sent twice is there once.

A point's time is fixed when it is noted; key, time, step and value together are a point's identity
in MLflow's database. So what a killed sender had sent but not marked is sent again and changes
nothing. A step that a resumed training logs anew has another time: it is compared with what the
store has. One process at a time sends a run.
"""

import contextlib
import json
import logging
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.tracking import journal, store
from dcgan.tracking.journal import Entry, Session

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

log = logging.getLogger(__name__)

NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description
RUN_ID = "{run_id}"  # in a description: the run's own id, which the journal does not know
POINTS, TEXTS = 1000, 100  # metrics, and parameters or tags, that one call takes
THUMBNAIL = 256  # pixels, the longer side of what MLflow's image slider shows first
# Somebody has deleted the run, put another store in its place, or made the experiment a moment
# before us: look again.
MOVED = {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
# What the store will never take, however often it is asked.
REFUSALS, HTTP_REFUSALS = (
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE"},
    {400, 413, 415, 422},
)


class Sender:
    """Sends the journal of one run, and knows what the store has of it for as long as nobody else sends it."""

    def __init__(self, run: Path, uri: str) -> None:
        self.run, self.uri = run, uri
        self.points = self.files = 0  # sent so far
        self.progress = 0  # rises whenever the store has done something
        self._token = uuid.uuid4().hex.encode()
        self._refused: set[str] = set()
        self._id: str
        self._points: dict[str, dict[int, dict[int, float]]]
        self._images: set[tuple[str, str]] | None
        self._forget()

    @property
    def run_id(self) -> str | None:
        """The run's id, once it is found or made."""
        return self._id or None

    def send(
        self, client: "MlflowClient", *, wait: bool = True, stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Send what waits, session after session, and delete the sessions that have ended.

        Args:
            client: of the store.
            wait: for another process that sends this run; or else leave it to that one.
            stop: asked before every entry.

        Returns:
            Whether everything is sent.

        Raises:
            Exception: whatever MLflow, SQLAlchemy or requests raise when the store fails; what is
                sent is marked.
        """
        self._client = client
        try:
            with journal.lock(self.run / "lock", wait=wait) as handle:
                if handle is None:
                    return False
                if os.pread(handle, 64, 0) != self._token:
                    self._forget()  # somebody else has sent since
                    with contextlib.suppress(OSError):  # a full disk: we forget again the next time
                        os.pwrite(handle, self._token, 0)
                done = all(
                    [self._send_session(session, stop) for session in journal.sessions(self.run)]
                )
                journal.tidy(self.run)
                return done
        except FileNotFoundError:
            if self.run.exists():
                raise
            return True  # somebody else has sent it all and tidied up

    def _send_session(self, session: Session, stop: Callable[[], bool]) -> bool:
        session.bury()
        opening, entry = session.first(), None
        if opening is None or opening["op"] != "open":
            if not session.alive():
                session.delete()  # the disk was full, or it was killed at its first word
            return True
        for entry, sent in journal.merged(session.unsent(), POINTS):
            if stop():
                return False
            store.check(self.uri)
            self._apply(session, opening, entry)
            session.mark(sent)
            self.progress += 1
            if "file" in entry:
                session.drop(entry["file"])
        if entry["op"] == "close" if entry else not session.alive():
            session.delete()
        return True

    def _apply(self, session: Session, opening: Entry, entry: Entry) -> None:
        for last_try in (False, True):
            try:
                if not self._id or entry["op"] == "open":
                    self._open(opening)
                if entry["op"] != "open":
                    getattr(self, f"_send_{entry['op']}")(entry, session)
                return
            except Exception as error:
                code = getattr(error, "error_code", None)
                if code in MOVED and not last_try:
                    self._forget()
                    continue
                # What serves artifacts answers in plain HTTP.
                status = getattr(getattr(error, "response", None), "status_code", None)
                if not self._id or not (code in REFUSALS or status in HTTP_REFUSALS):
                    raise
                if entry["op"] not in self._refused:
                    self._refused.add(entry["op"])
                    log.warning(
                        "MLflow run %s does not take %s (%s)",
                        self._id,
                        entry["op"],
                        store.one_line(error),
                    )
                return

    def _open(self, entry: Entry) -> None:
        """Find the newest run with the fingerprint, or create it."""
        with store.lock():
            experiment = self._experiment(f"dcgan-{entry['dataset']}")
            self.progress += 1
            same = f"tags.fingerprint = '{entry['fingerprint']}'"
            found = self._client.search_runs(
                [experiment], same, max_results=1, order_by=["attributes.start_time DESC"]
            )
            if found:
                run_id = found[0].info.run_id
                self._client.update_run(run_id, status="RUNNING")
                self._add_experiment(found[0], entry["tags"].get("dvc_experiment"))
            else:
                created = self._client.create_run(
                    experiment, entry["at"], {**entry["tags"]}, run_name=entry["name"]
                )
                run_id = created.info.run_id
        if run_id != self._id:
            self._forget()
        self._id = run_id

    def _add_experiment(self, run: "MlflowRun", name: str | None) -> None:
        """Another DVC experiment with the same training: the tag names them all."""
        names = [name for name in run.data.tags.get("dvc_experiment", "").split(", ") if name]
        if name and name not in names:
            self._client.set_tag(run.info.run_id, "dvc_experiment", ", ".join([*names, name]))

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        folder = store.artifacts(self.uri)
        return self._client.create_experiment(
            name, artifact_location=(folder / name).as_uri() if folder else None
        )

    def _send_params(self, entry: Entry, _: Session) -> None:
        from mlflow.entities import Param

        logged = self._client.get_run(self._id).data.params
        for key, text in entry["params"].items():
            if logged.get(key, text) != text:
                log.warning(
                    "MLflow run %s keeps %s = %s, although it is %s now",
                    self._id,
                    key,
                    logged[key],
                    text,
                )
        new = [Param(key, text) for key, text in entry["params"].items() if key not in logged]
        for part in _parts(new, TEXTS):
            self._client.log_batch(self._id, params=part)

    def _send_tags(self, entry: Entry, _: Session) -> None:
        from mlflow.entities import RunTag

        tags = {
            key: text.replace(RUN_ID, self._id) if key == NOTE else text
            for key, text in entry["tags"].items()
        }
        for part in _parts([RunTag(key, text) for key, text in tags.items()], TEXTS):
            self._client.log_batch(self._id, tags=part)

    def _send_points(self, entry: Entry, _: Session) -> None:
        from mlflow.entities import Metric

        points = []
        for key, step, value, at, replace in entry["points"]:
            known = self._known(key)
            place = _place(known, step, value, at, replace)
            if place:
                step, time = place
                known.setdefault(step, {})[time] = value
                points.append(Metric(key, value, time, step))
        try:
            for part in _parts(points, POINTS):
                self._client.log_batch(self._id, metrics=part)
                self.points += len(part)
                self.progress += 1
        except BaseException:
            self._points.clear()  # what the store has of them is not known now
            raise

    def _send_image(self, entry: Entry, session: Session) -> None:
        """As `MlflowClient.log_image` does it, under names that are the same whenever the entry is sent."""
        from PIL import Image

        if self._images is None:
            listed = self._client.list_artifacts(self._id, "images")
            self._images = {
                (Path(file.path).name.partition("+timestamp")[0], Path(file.path).suffix)
                for file in listed
            }
        name = f"{entry['key'].replace('/', '~')}+step+{entry['step']}"
        both = {(name, ".png"), (name, ".webp")}
        path = session.folder / entry["file"]
        if both <= self._images or not _exists(path):
            return
        self._client.set_tag(self._id, "mlflow.loggedImages", True)
        stem = (
            f"{name}+timestamp+{entry['at']}+{uuid.uuid5(uuid.NAMESPACE_OID, f'{self._id} {name}')}"
        )
        with tempfile.TemporaryDirectory() as folder, Image.open(path) as picture:
            picture.save(Path(folder) / f"{stem}.png")
            small = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")
            scale = THUMBNAIL / max(small.size)
            small = small.resize([max(1, round(side * scale)) for side in small.size])
            small.save(Path(folder) / f"{stem}+compressed.webp")
            self._client.log_artifacts(self._id, folder, "images")
        self._images |= both
        self.files += 1

    def _send_file(self, entry: Entry, session: Session) -> None:
        path = session.folder / entry["file"]
        if _exists(path):
            self._client.log_artifact(self._id, str(path), entry["folder"])
            self.files += 1

    def _send_dataset(self, entry: Entry, _: Session) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": entry["source"]})
        data = Dataset(entry["name"], entry["digest"], source_type="local", source=source)
        self._client.log_inputs(
            self._id,
            datasets=[DatasetInput(data, [InputTag("mlflow.data.context", entry["context"])])],
        )

    def _send_close(self, entry: Entry, _: Session) -> None:
        self._client.set_terminated(self._id, entry["status"], entry["at"])

    def _known(self, key: str) -> dict[int, dict[int, float]]:
        """What the store has of a metric: values by step and time."""
        if key not in self._points:
            known: dict[int, dict[int, float]] = {}
            for point in self._client.get_metric_history(self._id, key):
                known.setdefault(point.step, {})[point.timestamp] = point.value
            self._points[key] = known
            self.progress += 1
        return self._points[key]

    def _forget(self) -> None:
        self._id = ""
        self._points = {}
        self._images = None


def _place(
    known: Mapping[int, Mapping[int, float]], step: int | None, value: float, at: int, replace: bool
) -> tuple[int, int] | None:
    """Step and time at which a point is to be sent; None where the store has it.

    Args:
        known: what the store has of the metric.
        step: None: the one after the last, for what is measured by the clock.
        value: of the point.
        at: ms since 1970, when it was noted.
        replace: whether another value supersedes the one that this step has.
    """
    if step is None:
        return (
            None
            if any(at in times for times in known.values())
            else (max(known, default=-1) + 1, at)
        )
    times = known.get(step)
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
    # Somebody has deleted it from the journal, or it was sent before.
    if not path.exists():
        log.debug("%s: missing, not logged to MLflow", path)
    return path.exists()

"""One MLflow run per training, found again by its fingerprint; a store that fails costs seconds, never the training.

Whatever a stage logs goes to the journal first; a thread sends it in the background. What the store
does not take in time waits in the journal for the run's next stage or for `python -m pipeline
sync`.
"""

import contextlib
import errno
import logging
import math
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.errors import EnvironmentProblem, Stopped
from dcgan.tracking import journal, store
from dcgan.tracking.outbox import Outbox
from dcgan.tracking.provenance import FILE, Value, environment_tags, safe
from dcgan.tracking.sending import NOTE

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

PARAM_LENGTH, TAG_LENGTH = 6000, 8000  # characters that MLflow takes


def run_name(fingerprint: str, dataset: str) -> str:
    """What a training's run is called in MLflow, and in the column `mlflow_run` of `dvc exp show`."""
    fingerprint, dataset = safe(fingerprint), safe(dataset).replace("/", "_")
    return f"{dataset}-{fingerprint[:8]}{fingerprint[16:]}"  # the end is the number of epochs


@contextlib.contextmanager
def run(
    fingerprint: str,
    *,
    dataset: str,
    name: str | None = None,
    tags: Mapping[str, Value | None] | None = None,
    required: bool = False,
    system_metrics: bool = False,
) -> Iterator["Run"]:
    """Continue the newest run with this fingerprint, or start one; it ends as FINISHED, FAILED or KILLED as the body does.

    Args:
        fingerprint: names the training; from results/train/run.json in the stages after train.
        dataset: names the experiment that the run belongs to.
        name: shown in MLflow for a new run; None: dataset and fingerprint, as the column
            `mlflow_run` of `dvc exp show`.
        tags: more tags, None values left out.
        required: the store has to answer, or else the body does not begin.
        system_metrics: watch processor, memory, disk, network and GPU during the body.

    Raises:
        EnvironmentProblem: the store is required and does not open; or the disk under the journal
            is full.
        Stopped: SIGTERM came, and the program has no other answer to it.
    """
    if required:
        store.connect()
    with _sigterm_raises():
        current = Run(fingerprint, dataset, name)
        current.set_tags(tags or {})
        monitor = current.watch() if system_metrics else None
        status = "FAILED"
        try:
            yield current
            status = "FINISHED"
        except (Stopped, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            if monitor:
                monitor.stop()
            current.close(status)


class Run:
    """One run, for a stage to write to. None of its methods waits for the store but `id` and `close`.

    None raises either, with one exception: those that log raise EnvironmentProblem where the disk
    under the journal is full. Mostly the checkpoints lie there, too; better to stop now, and to go
    on from the last one when there is room, than to lose figures.
    """

    def __init__(self, fingerprint: str, dataset: str, name: str | None = None) -> None:
        name = name or run_name(fingerprint, dataset)
        fingerprint, dataset = safe(fingerprint), safe(dataset).replace("/", "_")
        self._broken = self._closing = False
        self._outbox: Outbox | None = None
        self._journal: journal.Writer | None = None
        try:
            self._journal = journal.Writer(store.journals(), fingerprint)
        except OSError as error:
            self._failed(error)
            return
        # A store of our own is made here, in the open; the thread never makes one, so that one that
        # somebody deletes stays away.
        if store.is_new():
            with contextlib.suppress(Exception):  # the thread meets the same trouble, and tells
                store.connect()
        tags = _texts({"fingerprint": fingerprint, **environment_tags()})
        self._note("open", fingerprint=fingerprint, dataset=dataset, name=name[:200], tags=tags)
        self._outbox = Outbox(self._journal.folder.parent, store.location())

    @property
    def id(self) -> str | None:
        """The run's id in the store, once all that was logged so far is there; None if the store does not answer."""
        if self._outbox:
            self._outbox.wait()
        return self._outbox.run_id if self._outbox else None

    @property
    def off(self) -> bool:
        """Whether something waits in the journal, or is lost, because a store or a disk failed."""
        return self._broken or self._outbox is None or self._outbox.failing

    def log_params(self, params: Mapping[str, Value]) -> None:
        """Log flat parameters (see `flatten`); one that the run has with another value keeps the first and warns."""
        self._note("params", params=_texts(params, PARAM_LENGTH))

    def log_rows(self, rows: Iterable[Mapping[str, float | None]]) -> None:
        """Log rows of `step` and metrics; a step that the store has is skipped, so a repeated or resumed training adds no point."""
        self._log_points(rows, replace=False)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log figures; a changed one supersedes the old, an equal one adds no point."""
        self._log_points([{"step": step, **metrics}], replace=True)

    def log_image(self, image: "Path | np.ndarray[Any, Any]", key: str, step: int) -> None:
        """Log a file or an H x W (x 3) uint8 array under a key with a step slider, unless the store has that step."""
        if isinstance(image, Path):
            self._keep(image, image.name, op="image", key=safe(key, limit=100), step=int(step))
        elif self._journal:
            from PIL import Image

            try:
                path, place = self._journal.room("image.png")
                Image.fromarray(image).save(path)
            except OSError as error:
                self._failed(error)
                return
            self._note("image", file=place, key=safe(key, limit=100), step=int(step))

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into a folder of the run's artifacts."""
        self._keep(path, path.name, op="file", folder=safe(folder, FILE) if folder else None)

    def log_folder(self, path: Path, folder: str) -> None:
        """Copy a folder's content into a folder of the run's artifacts."""
        if not path.is_dir():
            log.warning("%s: missing, not logged to MLflow", path)
        for file in sorted(path.rglob("*")):
            if file.is_file():
                below = file.parent.relative_to(path)
                self.log_file(file, str(Path(folder) / below))

    def log_model(self, weights: Path, folder: str = "model") -> None:
        """Copy an export, its safetensors and the JSON beside it, into the run's artifacts."""
        self.log_file(weights, folder)
        self.log_file(weights.with_suffix(".json"), folder)

    def log_dataset(self, name: str, sha256: str, source: Path, context: str) -> None:
        """Say what the run is made from; `context` is what it is used for, as training."""
        # MLflow takes 36 characters of a digest.
        self._note(
            "dataset", name=safe(name), digest=sha256[:36], source=str(source), context=context
        )

    def set_tags(self, tags: Mapping[str, Value | None]) -> None:
        """Set tags; None values are left out."""
        texts = _texts({key: value for key, value in tags.items() if value is not None})
        if texts:
            self._note("tags", tags=texts)

    def describe(self, markdown: str) -> None:
        """Set the description at the head of the run's page; in it, RUN_ID becomes the run's id."""
        self.set_tags({NOTE: markdown})

    def watch(self) -> Any:
        """Log system metrics until what is returned is stopped."""
        from dcgan.tracking import monitoring

        def on_sample(figures: Mapping[str, float]) -> None:
            with contextlib.suppress(EnvironmentProblem):  # the stage finds out by itself
                self._log_points([{"step": None, **figures}], replace=False)

        return monitoring.Monitor(on_sample)

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED, and wait for the store for as long as it makes progress."""
        self._closing = (
            True  # the end of a stage that is done, or has failed for a reason of its own
        )
        self._note("close", status=status)
        if self._outbox:
            self._outbox.close(quick=status == "KILLED")
        if self._journal:
            self._journal.close()
            self._journal = None

    def _log_points(self, rows: Iterable[Mapping[str, float | None]], *, replace: bool) -> None:
        points: list[tuple[str, int | None, float]] = []
        tags = {}
        for row in rows:
            step = None if row["step"] is None else int(row["step"])
            for key, number in row.items():
                if key == "step" or number is None:
                    continue
                value = float(number)
                if math.isfinite(value):
                    points.append((safe(key), step, value))
                else:
                    # MLflow stores inf as the largest float, which flattens every chart.
                    tags[f"{key}.not_finite"] = f"{value} at step {step}"
        if points:
            self._note("points", points=points, replace=replace)
        self.set_tags(tags)

    def _keep(self, path: Path, name: str, **entry: Any) -> None:
        """Copy a file into the journal, since it may change or go, and note what it is for."""
        if not self._journal:
            return
        if not path.exists():
            log.warning("%s: missing, not logged to MLflow", path)
            return
        try:
            copy, place = self._journal.room(name)
            try:
                shutil.copyfile(path, copy)
            except OSError:
                shutil.rmtree(copy.parent)  # a part of it only fills the disk
                raise
        except OSError as error:
            self._failed(error)
            return
        self._note(**entry, file=place)

    def _note(self, op: str, **arguments: Any) -> None:
        if not self._journal:
            return
        try:
            self._journal.append(op, **arguments)
        except OSError as error:
            self._failed(error)
        if self._outbox:
            self._outbox.tell()

    def _failed(self, error: OSError) -> None:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and not self._closing:
            raise EnvironmentProblem(
                f"{store.journals()}: no space left on the disk: make room, then run again"
            ) from error
        if not self._broken:
            text = "MLflow journal %s failed (%s): the work goes on, not all of it is logged"
            log.warning(text, store.journals(), store.one_line(error))
        self._broken = True


def _texts(values: Mapping[str, Value], length: int = TAG_LENGTH) -> dict[str, str]:
    return {safe(key): str(value)[:length] for key, value in values.items()}


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises Stopped, so that the run ends as KILLED; where the stage has an answer of its own, nothing changes."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped("stopped by SIGTERM; run the same command again to go on", number)

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

"""One MLflow run per training, found again by its fingerprint.

Whatever a stage logs goes to the journal first, and a thread sends it in the background. A store
that fails costs seconds, never the training: what it does not take in time waits in the journal for
the run's next stage, or for `python -m pipeline sync`.
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
from dcgan.tracking import journal, names, store
from dcgan.tracking.names import safe
from dcgan.tracking.outbox import Outbox
from dcgan.tracking.provenance import environment_tags

if TYPE_CHECKING:
    from dcgan.tracking.monitoring import Monitor

log = logging.getLogger(__name__)

Value = str | int | float | bool

# Characters that MLflow takes.
NAME_LENGTH, PARAM_LENGTH, TAG_LENGTH = 200, 6000, 8000
DIGEST_LENGTH = 36


@contextlib.contextmanager
def open_run(
    fingerprint: str,
    *,
    dataset: str,
    name: str | None = None,
    tags: Mapping[str, Value | None] | None = None,
    required: bool = False,
    system_metrics: bool = False,
) -> Iterator["Run"]:
    """Continue the newest run with this fingerprint, or start one.

    It ends as FINISHED, FAILED or KILLED, as the body does.

    Args:
        fingerprint: names the training; from results/train/run.json in the stages after train.
        dataset: names the experiment that the run belongs to.
        name: shown in MLflow for a new run; None: `names.of_run`.
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
        run = Run(fingerprint, dataset, name)
        run.set_tags(tags or {})
        monitor = run.watch() if system_metrics else None
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        except (Stopped, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            if monitor:
                monitor.stop()
            run.close(status)


class Run:
    """One run, for a stage to write to; only `id` and `close` wait for the store.

    No method raises, except that logging raises EnvironmentProblem when the disk under the journal
    is full. The checkpoints usually lie on the same disk: it is better to stop now, and to continue
    from the last one when there is room, than to lose figures.
    """

    def __init__(self, fingerprint: str, dataset: str, name: str | None = None) -> None:
        fingerprint, dataset = safe(fingerprint), safe(dataset).replace("/", "_")
        name = (name or names.of_run(dataset, fingerprint))[:NAME_LENGTH]
        self._broken = self._closing = False
        self._outbox: Outbox | None = None
        self._journal: journal.Writer | None = None
        try:
            self._journal = journal.Writer(store.journals(), fingerprint)
        except OSError as error:
            self._failed(error)
            return
        # A new local store is made here and never by the thread: one that is deleted while the
        # stage runs must not be made again, empty.
        if store.is_new():
            with contextlib.suppress(Exception):  # the thread meets the same trouble, and warns
                store.connect()
        tags = _texts({"fingerprint": fingerprint, **environment_tags()})
        self._note("open", fingerprint=fingerprint, dataset=dataset, name=name, tags=tags)
        self._outbox = Outbox(self._journal.folder.parent, store.location())

    @property
    def id(self) -> str | None:
        """The run's id, once all that was logged is in the store; None if that does not answer."""
        if not self._outbox:
            return None
        self._outbox.wait()
        return self._outbox.sender.run_id

    @property
    def off(self) -> bool:
        """Whether something waits in the journal, or is lost, because a store or a disk failed."""
        return self._broken or self._outbox is None or self._outbox.failing

    def log_params(self, params: Mapping[str, Value]) -> None:
        """Log flat parameters.

        One that the run has with another value keeps the first, and a warning says so.
        """
        self._note("params", params=_texts(params, PARAM_LENGTH))

    def log_rows(self, rows: Iterable[Mapping[str, float | None]]) -> None:
        """Log rows of `step` and metrics.

        A step that the store has is skipped, so a repeated or resumed training adds no point.
        """
        self._log_points(rows, replace=False)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log figures; a changed one supersedes the old, an equal one adds no point."""
        self._log_points([{"step": step, **metrics}], replace=True)

    def log_image(self, path: Path, key: str, step: int) -> None:
        """Log a picture under a key with a step slider, unless the store has that step."""
        self._keep(path, op="image", key=safe(key, limit=100), step=int(step))

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into a folder of the run's artifacts; None: the top one."""
        self._keep(path, op="file", folder=safe(folder, names.FILE) if folder else None)

    def log_folder(self, path: Path, folder: str) -> None:
        """Copy a folder's content into a folder of the run's artifacts."""
        if not path.is_dir():
            log.warning("%s: missing, not logged to MLflow", path)
        for file in sorted(path.rglob("*")):
            if file.is_file():
                below = file.parent.relative_to(path)
                self.log_file(file, str(Path(folder) / below))

    def log_dataset(
        self, name: str, sha256: str, source: str, context: str, about: Mapping[str, Any]
    ) -> None:
        """Log what the run is made from.

        Args:
            name: of the data set.
            sha256: of the prepared data.
            source: the publisher's URL, or in words.
            context: what it is used for: training, validation or test.
            about: see `data.described`.
        """
        self._note(
            "dataset", name=safe(name), digest=sha256[:DIGEST_LENGTH], source=source,
            context=context, about=dict(about),
        )  # fmt: skip

    def log_checkpoint(
        self,
        name: str,
        sha256: str,
        epoch: int,
        figures: Mapping[str, float],
        params: Mapping[str, Value],
        dataset: tuple[str, str],
    ) -> None:
        """Log a checkpoint as a model that the experiment's Models tab shows with its figures.

        It is a reference: the store gets no copy of the weights. The run gets the figures, too.

        Args:
            name: of the model, without / : . % or quotes.
            sha256: of the weights; the same ones are logged once.
            epoch: their step.
            figures: by the name of the metric; those that are not finite are left out.
            params: shown beside the figures.
            dataset: name and sha256 of what they were measured on, as `log_dataset` got them.
        """
        self._note(
            "model", name=safe(name), sha256=sha256, step=int(epoch), params=_texts(params),
            metrics={safe(key): float(x) for key, x in figures.items() if math.isfinite(x)},
            dataset=safe(dataset[0]), digest=dataset[1][:DIGEST_LENGTH],
        )  # fmt: skip

    def set_tags(self, tags: Mapping[str, Value | None]) -> None:
        """Set tags; None values are left out."""
        texts = _texts({key: value for key, value in tags.items() if value is not None})
        if texts:
            self._note("tags", tags=texts)

    def describe(self, markdown: str) -> None:
        """Set the head of the run's page, a text in which names.RUN_ID becomes the run's id."""
        self.set_tags({names.NOTE: markdown})

    def watch(self) -> "Monitor":
        """Log system metrics until the monitor is stopped."""
        from dcgan.tracking.monitoring import Monitor

        def on_sample(figures: Mapping[str, float]) -> None:
            with contextlib.suppress(EnvironmentProblem):  # the stage's own logging raises it, too
                self._log_points([{"step": None, **figures}], replace=False)

        return Monitor(on_sample)

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED.

        Waits for the store for as long as it makes progress.
        """
        self._closing = True  # the stage has its result or its error: a full disk must not hide it
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

    def _keep(self, path: Path, **entry: Any) -> None:
        """Copy a file into the journal, since it may change or go, and note what it is for."""
        if not self._journal:
            return
        if not path.exists():
            log.warning("%s: missing, not logged to MLflow", path)
            return
        try:
            copy, place = self._journal.room(path.name)
            try:
                shutil.copyfile(path, copy)
            except OSError:
                shutil.rmtree(copy.parent)  # an incomplete copy only fills the disk
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
            self._outbox.notify()

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
    """SIGTERM raises Stopped in the body, so that the run ends as KILLED.

    A stage that handles SIGTERM itself keeps its handler.
    """

    def stop(number: int, _frame: object) -> None:
        raise Stopped("stopped by SIGTERM; run the same command again to go on", number)

    unhandled = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if unhandled:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if unhandled:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

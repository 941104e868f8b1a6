"""The thread that sends a run's journal while its stage works.

At the end the stage waits for it, as long as the store makes progress.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcgan.redaction import redact
from dcgan.tracking import journal, store
from dcgan.tracking.sending import Sender

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a stage waits for a store that makes no progress
QUICK = 2.0  # the same after a signal, when a person or a scheduler waits for the end
RETRY_SECONDS = 15.0  # after a failure


class Outbox:
    """Sends one run's journal in the background, then what earlier runs have left behind."""

    def __init__(self, run: Path, uri: str) -> None:
        self.failing = False  # the last try failed, or the stage ended before all was sent
        self.sender = Sender(run, uri)
        self._uri = uri
        self._run = run
        self._client: Any = None
        self._noted, self._sent = 1, 0  # notices so far, and how many of them are dealt with
        self._closing = self._left = False
        self._patience = PATIENCE  # of the whole stage
        self._changed = threading.Condition()
        self._others: list[Sender] | None = None  # of other runs; None: not looked for yet
        # MLflow is imported here: two threads that import at once can get in each other's way.
        store.prepare(uri)
        self._thread = threading.Thread(target=self._work, name="MLflow", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Wake the thread, because the journal has a new entry."""
        with self._changed:
            self._noted += 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when all entries so far are sent, or when the store fails or makes no progress."""
        noted = self._noted
        self._wait_for(lambda: self._sent >= noted or self.failing)

    def close(self, *, quick: bool) -> None:
        """Send the rest, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        patience = self._patience = min(QUICK, self._patience) if quick else self._patience
        self._wait_for(lambda: False)
        self._left = True  # a thread that still waits for an answer ends when it comes
        if self._thread.is_alive() and self._sent < self._noted:
            self._fail(f"no answer for {patience:g} s")

    def _wait_for(self, done: Callable[[], bool]) -> None:
        progress, deadline = -1, 0.0
        with self._changed:
            while self._thread.is_alive() and not done():
                if progress != self._progress():
                    progress, deadline = self._progress(), time.monotonic() + self._patience
                if time.monotonic() > deadline:
                    self._patience = 0.0
                    return
                self._changed.wait(0.05)

    def _progress(self) -> int:
        return sum(sender.progress for sender in [self.sender, *(self._others or [])])

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    self._has_work, timeout=RETRY_SECONDS if self.failing else None
                )
                last, noted = self._closing, self._noted
            success = self._try(noted)
            with self._changed:
                self._changed.notify_all()
                if last or self._left or (self._closing and not success):
                    return

    def _has_work(self) -> bool:
        return self._closing or (self._noted > self._sent and not self.failing)

    def _try(self, noted: int) -> bool:
        try:
            if not self._client:
                with store.lock():  # another process may be creating it
                    self._client = store.open_client(self._uri)
                self.sender.progress += 1
            if not self.sender.send(self._client, stop=lambda: self._left):
                return False
        # Whatever MLflow, SQLAlchemy or requests raise must not end a training.
        except Exception as error:
            self._client = None
            self._fail(store.one_line(error))
            return False
        if self.failing:
            log.info("MLflow store %s answers again", redact(self._uri))
        self.failing, self._sent = False, noted
        if self._others is None:
            self._send_others()
        return True

    def _send_others(self) -> None:
        """Send what stages of other runs have left; mark a run as killed if its stage was."""
        self._others = []
        for run in journal.runs(self._run.parent):
            try:
                if run != self._run and not any(
                    session.alive() for session in journal.sessions(run)
                ):
                    self._others.append(Sender(run, self._uri))
                    self._others[-1].send(self._client, wait=False, stop=lambda: self._left)
            except Exception as error:  # as above; the next try for this stage's own run warns
                log.debug("%s: not sent (%s)", run.name, store.one_line(error))

    def _fail(self, reason: str) -> None:
        """Warn once for an outage."""
        if not self.failing:
            text = (
                "MLflow store %s failed (%s): the work goes on; what is not sent waits,"
                " and python -m pipeline sync sends it"
            )
            log.warning(text, redact(self._uri), reason)
        self.failing = True

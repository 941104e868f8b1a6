"""Progress for people: on a terminal a bar with the time left, in a log a line every 15 seconds."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 15.0


class Bar:
    """Shows how far a piece of work is.

    Use it as `with Bar("train", unit="images", per_step=64) as bar: bar.update(step, total)`.

    Attributes:
        rate: units a second since the first update.
    """

    def __init__(self, title: str, *, unit: str = "steps", per_step: int = 1) -> None:
        self.title, self.unit, self.per_step = title, unit, per_step
        self.rate = 0.0
        self._started: tuple[float, int] | None = None
        self._printed = time.monotonic()
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console())
            self._task = self._bar.add_task(title, total=None, note="")

    def __enter__(self) -> "Bar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, total: int) -> None:
        """Say that `done` of `total` steps are done."""
        now = time.monotonic()
        if self._started is None:
            self._started = (now, done)
        elapsed, steps = now - self._started[0], done - self._started[1]
        if elapsed > 0:
            self.rate = steps * self.per_step / elapsed
        digits = 0 if self.rate >= 10 else 2
        note = f"{self.rate:.{digits}f} {self.unit}/s" if self.rate else ""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif self.rate and now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            left = (total - done) * self.per_step / self.rate
            print(f"{self.title}: {done}/{total}, {note}, {left:.0f} s left", flush=True)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, flush=True)

"""Run one command: one-line errors and documented exit codes; a traceback only with --debug."""

import errno
import functools
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

import typer
from typer.exceptions import TyperException

from dcgan.errors import UserError
from pipeline import processes, workspace

EXIT_CODES = (
    "Exit codes: 0 fine, 2 config, 3 data, 4 diverged or refused, 5 no checkpoint, 6 environment,"
    " 7 cannot tell, 130 and 143 signals."
)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


class Ending:
    """Answers a signal by an exception that ends the command.

    Not while a module is being imported: an exception in the midst of torch's import may abort the
    process, or leave half a module behind. The answer then comes when the import is done.
    """

    def __init__(self) -> None:
        self._asked = int(signal.SIGTERM)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of the signal `number`, and of the alarm that asks again."""
        if number != signal.SIGALRM:
            self._asked = number
        if _importing(frame):
            signal.signal(signal.SIGALRM, self)
            signal.setitimer(signal.ITIMER_REAL, IMPORT_POLL)
            return
        raise Terminated if self._asked == signal.SIGTERM else KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Outliving:
    """A stream to a reader that may go, as `head` does: what is written after that is lost.

    A training must not end because nobody reads its lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or lose the text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        """Flush, or lose what waits."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._lose()

    def _lose(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES,
}  # fmt: skip
IMPORT_POLL = 0.1  # seconds until we look again whether an import is done


def run(
    *commands: Callable[..., Any], args: list[str] | None = None, prog: str | None = None
) -> None:
    """Give one function the command line, or several of them as subcommands, and exit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8, such as cron's, shows other letters escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Outliving(stream)) for stream in streams)
    answers = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # else we are told to ignore it
        answers[signal.SIGINT] = signal.default_int_handler
    for number in answers:
        signal.signal(number, Ending())
    args = sys.argv[1:] if args is None else args
    debug = "--debug" in args
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    for command in commands:
        # `list_` is the command `list`: the underscore keeps Python's own `list`.
        name = command.__name__.rstrip("_")
        app.command(name, epilog=f"--debug shows tracebacks. {EXIT_CODES}")(
            command if debug else _one_line(command)
        )
    started, code = time.monotonic(), 1
    try:
        code = app([arg for arg in args if arg != "--debug"], prog_name=prog, standalone_mode=False)
    except TyperException as error:
        fail(f"{error.format_message().rstrip('.')} (see --help)", error.exit_code)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        raise
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = streams
        for number, answer in answers.items():
            signal.signal(number, answer)
        # Of several processes that were launched together, the one that DVC started notes it.
        if (stage := os.environ.get("DVC_STAGE")) and "LOCAL_RANK" not in os.environ:
            workspace.note_stage(stage, time.monotonic() - started, int(code or 0))
    sys.exit(code)


def fail(message: str, exit_code: int) -> NoReturn:
    """Print one line on stderr, control characters escaped, and exit."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(exit_code)


def catch_signals() -> Callable[[], int]:
    """Note the first SIGINT or SIGTERM, and do not end; a later one ends the process at once.

    Returns:
        A function that gives the number of the noted signal, 0 before one comes.
    """
    requests = processes.Requests()

    def note(number: int, _frame: object) -> None:
        if requests.note(number) and len(requests.noted) > 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)
    return lambda: requests.noted[0] if requests.noted else 0


def _one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    # Inside Typer, because Typer turns Ctrl-C and a closed pipe into exit codes of its own.
    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt as asked:
            stage = os.environ.get("DVC_STAGE")
            gone = f"; DVC had removed the outputs of {stage}" if stage else ""
            by, code = ("SIGTERM", 143) if isinstance(asked, Terminated) else ("the keyboard", 130)
            fail(f"stopped by {by}{gone}; run the same command again to go on", code)
        except OSError as error:
            # The last net: what writes files says more.
            if error.errno not in DISK_ERRORS:
                raise
            where = error.filename or "a file"
            fail(f"{where}: {error.strerror}: make room, or check the folder and its rights", 6)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            said = " ".join(str(error).split()) or "Python"
            fail(f"out of memory ({said}): {less_memory()}", 6)

    return call


def out_of_memory(error: Exception) -> bool:
    """Whether it says that Python, NumPy, or torch on the CPU or a GPU got no memory.

    torch has a class of its own for a GPU alone, and it is not imported here.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(
        error
    )


def less_memory() -> str:
    """What to lower, by the stage that runs."""
    lower = {
        "prepare": "dataset.image_size or dataset.max_images",
        "reference": "reference.batch_size",
        "train": "batch_size, or the channels of the networks",
        "evaluate": "evaluate.num_samples",
        "probe": "probe.num_train",
        "paper": "paper.num_candidates",
    }
    stage = os.environ.get("DVC_STAGE") or Path(sys.argv[0]).stem
    advice = f"lower {lower[stage]}" if stage in lower else "end other programs"
    return f"{advice}; what earlier stages and the last checkpoint saved is good"

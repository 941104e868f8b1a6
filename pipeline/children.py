"""Run other programs, mostly dvc and git: lists, never a shell; their output streams through, signals reach all of them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from dcgan.errors import EnvironmentProblem, Stopped

# dvc's line about a stage that failed; dvc itself ends with 255, whatever the stage said.
STAGE_FAILED = re.compile(rb"failed to reproduce '\w+':.*exited with (\d+)")


def run(*command: str) -> int:
    """Run a program to its end, in a process group of its own, and return its exit code, or that of the stage that dvc ran.

    SIGINT and SIGTERM end it as Ctrl-C would: dvc waits for its stage then, where SIGTERM would
    leave an orphan. From the second one on the group gets SIGTERM.

    Raises:
        EnvironmentProblem: there is no such program.
        Stopped: a signal came; the program has ended.
    """
    print(f"> {' '.join(command)}", flush=True)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"{command[0]}: cannot be run ({error.strerror}): source .venv/bin/activate"
        ) from error
    assert process.stderr
    noted: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        noted.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT if len(noted) == 1 else signal.SIGTERM)

    stage_code = 0
    with _handling(forward), process.stderr:
        for line in process.stderr:  # until the last process of the group has closed it
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            if found := STAGE_FAILED.search(line):
                stage_code = int(found[1])
        code = process.wait()
    if noted:
        name = signal.Signals(noted[0]).name
        raise Stopped(
            f"{command[0]}: stopped by {name}; run the same command again to go on", noted[0]
        )
    return stage_code or (128 - code if code < 0 else code)


def output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a quick program prints, without the newline at its end.

    Raises:
        EnvironmentProblem: it fails, or there is no such program.
    """
    env = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=env
        )
    except OSError as error:
        raise EnvironmentProblem(
            f"{command[0]}: cannot be run ({error.strerror}): install it"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise EnvironmentProblem(f"{' '.join(command[:2])}: {said[:300]}")
    return done.stdout.rstrip("\n")


def has_remote() -> bool:
    """Whether DVC has a remote to push to."""
    return bool(output("dvc", "config", "core.remote"))


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGINT and SIGTERM go to a handler meanwhile."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)

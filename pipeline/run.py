"""Run an experiment with DVC: one at a time in a folder, and all of it ends when it is asked to."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dcgan.errors import EnvironmentProblem, Stopped
from pipeline import cli

LOCK, PARAMS_FILE, KEPT = (
    Path(".scratch/run.lock"),
    Path("params.yaml"),
    Path(".scratch/params.failed.yaml"),
)
PATIENCE = 15.0  # seconds that a stage has to save its state and end


def arguments(args: list[str]) -> list[str]:
    """What follows `run` on the command line as something that Typer passes on, whatever it begins with."""
    return args if "--help" in args else ["--", *args]


def main(
    options: Annotated[
        list[str] | None, typer.Argument(help="Passed on to dvc exp run as they are.")
    ] = None,
) -> None:
    """Run an experiment with DVC, safe from a second one and from signals: python -m pipeline run -S lr=2e-4.

    All options are those of dvc exp run, and the exit code is dvc's.

    One runs in a folder at a time; another is refused with exit code 6.

    Ctrl-C and SIGTERM reach the stage that runs, and no process is left behind.

    Where the experiment does not end well, params.yaml is put back as it was.
    """
    handle = hold(LOCK)
    before = PARAMS_FILE.read_bytes() if PARAMS_FILE.is_file() else None
    noted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if (
            number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        ):  # nohup wants no end
            signal.signal(number, lambda number, _frame: noted.append(number))
    process = start(options or [], handle)
    while process.poll() is None and not noted:
        time.sleep(0.05)
    end_group(process, noted)
    if process.returncode != 0 and before is not None:
        put_back(before)
    # Emptied before it is let go, so that nobody reads our number in it later.
    os.ftruncate(handle, 0)
    if noted and process.returncode != 0:
        raise Stopped("run: stopped by a signal: run the same command again to go on", noted[0])
    raise typer.Exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)


def hold(path: Path, who: str = "run") -> int:
    """Lock the folder's experiments and retrainings, before DVC touches anything.

    Args:
        path: the file to lock.
        who: asks for it, for the message.

    Returns:
        An open file that holds the lock. dvc inherits it: should this process be killed, the lock
        stays until dvc ends as well.

    Raises:
        EnvironmentProblem: somebody else holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EnvironmentProblem(
            f"{who}: an experiment or a retraining runs in this folder already (process {holder(handle)}): wait for it, or end it;"
            " to run several, queue them when none runs: python -m pipeline run --queue -S lr=1e-4,2e-4; dvc queue start -j 2"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def holder(handle: int) -> str:
    """The process number in a held lock, which its holder writes a moment after it has the lock."""
    for _ in range(20):
        text = os.pread(handle, 20, 0).decode()
        if text:
            return text
        time.sleep(0.05)
    return "unknown"


def start(options: list[str], handle: int) -> "subprocess.Popen[bytes]":
    """Start dvc in a process group of its own, with this interpreter's programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "dvc", "exp", "run", *options]
    return subprocess.Popen(
        command, env={**os.environ, "PATH": path}, pass_fds=[handle], start_new_session=True
    )


def end_group(process: "subprocess.Popen[bytes]", noted: list[int]) -> None:
    """End whatever is left of dvc's process group: by SIGINT, by SIGKILL when patience or a second signal ends the wait.

    Always SIGINT, which dvc leaves to its stage and waits for: SIGTERM would kill dvc in the midst
    of its work.
    """
    for number, patience in ((signal.SIGINT, PATIENCE), (signal.SIGKILL, 5.0)):
        signals, deadline = len(noted), time.monotonic() + patience
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            while time.monotonic() < deadline and (
                len(noted) == signals or number == signal.SIGKILL
            ):
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
    process.wait()


def put_back(before: bytes) -> None:
    """Undo what `-S` wrote: values of an experiment that failed must not slip into the next one."""
    from dcgan import files

    now = PARAMS_FILE.read_bytes()
    if now != before:
        files.write_bytes(KEPT, now)
        files.write_bytes(PARAMS_FILE, before)
        print(
            f"run: {PARAMS_FILE} is as it was before; what the experiment had is in {KEPT}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run(main, args=arguments(sys.argv[1:]))

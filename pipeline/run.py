"""Run an experiment with DVC: one at a time in a folder, and all of it ends when it is asked to."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from dcgan.errors import Stopped
from pipeline import cli, folder_lock, processes, workspace

PARAMS_FILE, FAILED_PARAMS = Path("params.yaml"), Path(".scratch/params.failed.yaml")
STOPPED = (
    "stopped by a signal; DVC had removed the outputs of the stage that ran: run the same command"
    " again, and it goes on from .scratch"
)
# SIGINT, which dvc leaves to its stage and waits for: SIGTERM would kill dvc in the midst of its
# work. A stage has a minute to save its state; a second signal ends it at once.
ENDING = ((signal.SIGINT, 60.0), (signal.SIGKILL, 5.0))


def arguments(args: list[str]) -> list[str]:
    """What follows `run` on the command line, so that Typer passes options on as they are."""
    return args if "--help" in args else ["--", *args]


def main(
    options: Annotated[
        list[str] | None, typer.Argument(help="Passed on to dvc exp run as they are.")
    ] = None,
) -> None:
    """Run an experiment with DVC, safe from a second one and from signals.

    Example: python -m pipeline run -S lr=2e-4. All options are those of dvc exp run, and the exit
    code is dvc's.

    One runs in a folder at a time; another is refused with exit code 6.

    Ctrl-C and SIGTERM reach the stage that runs, and no process is left behind.

    If the folder that dataset.source names has changed, its images are fetched again first. DVC's
    queue does not look.

    Where the experiment does not end well, params.yaml is put back as it was.
    """
    workspace.check()
    lock = folder_lock.hold()
    before = PARAMS_FILE.read_bytes() if PARAMS_FILE.is_file() else None
    with processes.noting(*signals()) as noted:
        code = fetch_again("run", lock, noted)
        code = code or dvc(["exp", "run", *(options or [])], lock, noted)
        if code != 0 and before is not None:
            put_back(before)
        folder_lock.release(lock)
    if noted and code != 0:
        raise Stopped(f"run: {STOPPED}", noted[0])
    raise typer.Exit(code if code >= 0 else 128 - code)


def signals() -> list[signal.Signals]:
    """Those that ask us to end."""
    hangup_ends_us = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN  # not under nohup
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangup_ends_us else [])]


def fetch_again(who: str, lock: int, noted: list[int]) -> int:
    """Run the stage download if its source folder has changed, which DVC does not see.

    Returns:
        dvc's exit code; 0 if there was nothing to do.
    """
    change = workspace.changed_source() if PARAMS_FILE.is_file() else None
    if change is None:
        return 0
    print(f"{who}: {change}: fetched again", flush=True)
    return dvc(["repro", "--force", "--single-item", "download"], lock, noted)


def dvc(arguments: list[str], lock: int, noted: list[int]) -> int:
    """Run dvc, which inherits the lock, with this interpreter's programs first on the path.

    Returns:
        Its exit code; the negative number of a signal that ended it.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "PATH": path}
    group = processes.Group(command, ENDING, env=environment, pass_fds=[lock])
    group.wait(noted)
    group.end(noted)
    return int(group.process.returncode)


def put_back(before: bytes) -> None:
    """Undo what `-S` wrote: values of an experiment that failed must not enter the next one."""
    from dcgan import files

    now = PARAMS_FILE.read_bytes()
    if now != before:
        files.write_bytes(FAILED_PARAMS, now)
        files.write_bytes(PARAMS_FILE, before)
        print(
            f"run: {PARAMS_FILE} is as it was before; what the experiment had is in"
            f" {FAILED_PARAMS}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run(main, args=arguments(sys.argv[1:]))

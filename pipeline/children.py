"""Run dvc, git and our own commands: lists, never a shell; output streams through."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO

from dcgan.errors import EnvironmentProblem, Stopped
from pipeline import processes

# dvc's line for a failed stage, with the stage's exit code; dvc itself always ends with 255.
STAGE_FAILED = re.compile(rb"failed to reproduce '\w+':.*exited with (\d+)")
# As Ctrl-C would: dvc waits for its stage then, where SIGTERM would leave an orphan.
ENDING = ((signal.SIGINT, math.inf), (signal.SIGTERM, math.inf), (signal.SIGKILL, 5.0))


def run(*command: str) -> int:
    """Run a program to its end and return its exit code, or that of the stage that dvc ran.

    SIGINT and SIGTERM end it with all its children: the first one as Ctrl-C would, the second one
    by SIGTERM, the third one by SIGKILL. One of our own commands gets SIGTERM when this process is
    killed, and ends its own children.

    Raises:
        EnvironmentProblem: the program does not exist.
        Stopped: a signal came; the program has ended.
    """
    print(f"> {' '.join(command)}", flush=True)
    with processes.noting(signal.SIGINT, signal.SIGTERM) as noted:
        try:
            group = processes.Group(
                command, ENDING, stderr=subprocess.PIPE,
                preexec_fn=_end_with_parent if command[0] == sys.executable else None,
            )  # fmt: skip
        except OSError as error:
            raise EnvironmentProblem(
                f"{command[0]}: cannot be run ({error.strerror}): source .venv/bin/activate"
            ) from error
        assert group.process.stderr
        stage_codes: list[int] = []
        reader = threading.Thread(target=_pass_on, args=(group.process.stderr, stage_codes))
        reader.start()
        group.wait(noted)
        if noted:
            group.end(noted)
        reader.join()
    if noted:
        name = signal.Signals(noted[0]).name
        raise Stopped(
            f"{command[0]}: stopped by {name}; run the same command again to go on", noted[0]
        )
    if stage_codes and stage_codes[-1]:
        return stage_codes[-1]
    code = group.process.returncode
    return 128 - code if code < 0 else code


def _end_with_parent() -> None:
    processes.die_with_parent(signal.SIGTERM)


def output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a quick program prints, without the newline at its end.

    Raises:
        EnvironmentProblem: it fails, or does not exist.
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
        complaint = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise EnvironmentProblem(f"{' '.join(command[:2])}: {complaint[:300]}")
    return done.stdout.rstrip("\n")


def has_remote() -> bool:
    """Whether DVC has a remote to push to."""
    return bool(output("dvc", "config", "core.remote"))


def _pass_on(lines: IO[bytes], stage_codes: list[int]) -> None:
    """Write a program's stderr to ours, until the last process of its group has closed it.

    Args:
        lines: the program's stderr.
        stage_codes: gets the exit code of each stage that dvc says has failed.
    """
    with lines:
        for line in lines:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            if match := STAGE_FAILED.search(line):
                stage_codes.append(int(match[1]))

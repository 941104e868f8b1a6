"""A process group ends with all its children, gently first."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import processes

# A parent with a child; both write down the signal, and a stubborn one stays.
FAMILY = """
import os, signal, sys, time
child = os.fork()
def note(number, frame):
    open(f"{'parent' if child else 'child'}-{signal.Signals(number).name}", "w").close()
    if "stubborn" not in sys.argv:
        os._exit(0)
signal.signal(signal.SIGINT, note)
if child:
    while not os.path.exists("ready"):
        time.sleep(0.01)
    print(child, flush=True)
else:
    open("ready", "w").close()
time.sleep(60)
"""
GENTLY = ((signal.SIGINT, 60.0), (signal.SIGKILL, 5.0))


def start(folder: Path, *args: str, steps: processes.Steps = GENTLY) -> processes.Group:
    command = [sys.executable, "-c", FAMILY, *args]
    group = processes.Group(command, steps, cwd=folder, stdout=subprocess.PIPE)
    assert group.process.stdout and int(group.process.stdout.readline())
    return group


def alive(group: processes.Group) -> bool:
    try:
        os.killpg(group.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_end_of_the_body_ends_program_and_children_gently(tmp_path: Path) -> None:
    with start(tmp_path) as group:
        assert alive(group)
    assert not alive(group)
    assert {path.name for path in tmp_path.glob("*-*")} == {"parent-SIGINT", "child-SIGINT"}


def test_when_patience_is_over_the_group_is_killed(tmp_path: Path) -> None:
    group = start(tmp_path, "stubborn", steps=((signal.SIGINT, 0.3), (signal.SIGKILL, 5.0)))
    group.end()
    assert group.process.returncode == -signal.SIGKILL and not alive(group)


def test_another_signal_takes_the_next_step_at_once(tmp_path: Path) -> None:
    group = start(tmp_path, "stubborn")
    before, noted = time.monotonic(), [signal.SIGTERM]

    class Impatient(list[int]):
        """Asked for its length a third time, it has one signal more."""

        asked = 0

        def __len__(self) -> int:
            self.asked += 1
            return super().__len__() + (self.asked > 2)

    group.end(Impatient(noted))
    assert group.process.returncode == -signal.SIGKILL and time.monotonic() - before < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_noted_and_the_handlers_come_back(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    with processes.noting(number) as noted:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # a scheduler's and a launcher's: the same request
        assert noted == [number]
        monkeypatch.setattr(processes, "SAME_REQUEST", -1.0)  # as if time had passed
        os.kill(os.getpid(), number)
        assert noted == [number, number]
    assert signal.getsignal(number) is before


def test_impatience_counts_from_the_last_request_and_not_from_the_last_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    requests = processes.Requests()
    heard = []
    for _ in range(5):
        heard.append(requests.note(signal.SIGINT))
        clock[0] += 1.5
    assert heard == [True, False, True, False, True]

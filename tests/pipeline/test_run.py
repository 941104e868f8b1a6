"""`python -m pipeline run`: one experiment at a time, signals reach the stage, nothing is left.

The stage is one of a few lines.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import processes, run
from tests.support.repository import Repository

# Holds on until a file lets it go; a signal is written down, as the trainer writes a checkpoint.
STAGE = """
import os, pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path(".scratch/saved").write_text(str(number))
    if not pathlib.Path(".scratch/stubborn").exists():
        sys.exit(128 + number)
signal.signal(signal.SIGINT, stop)
pathlib.Path(".scratch/started").write_text(str(os.getpid()))
if "lr: 0.5" in open("params.yaml").read():
    sys.exit(3)
for _ in range(6000):  # not for ever, should a test fail
    if pathlib.Path(".scratch/go").exists():
        break
    time.sleep(0.02)
pathlib.Path("out").write_text(open("params.yaml").read())
"""
GRAPH = """
stages:
  wait:
    cmd: python stage.py
    params: [lr]
    deps: [stage.py]
    outs: [out]
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("repo")
    repo = Repository(folder, folder, lr=0.001)
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / ".gitignore").write_text("/out\n" + (folder / ".gitignore").read_text())
    repo.run("git", "add", "--all")
    repo.run("git", "commit", "--quiet", "--message", "a stage that waits")
    return repo


@pytest.fixture(autouse=True)
def clean(repo: Repository) -> None:
    (repo.folder / ".scratch").mkdir(exist_ok=True)
    for path in (repo.folder / ".scratch").iterdir():
        path.unlink()
    repo.run("git", "checkout", "--quiet", "--", ".")


def start(repo: Repository, *args: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "run", *args]

    def as_in_a_terminal() -> None:
        # A background shell ignores SIGINT, nohup SIGHUP, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    return subprocess.Popen(
        command, cwd=repo.folder, env=repo.env, text=True, preexec_fn=as_in_a_terminal,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def until(condition: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None), (
            process and process.communicate()
        )
        time.sleep(0.02)


def started(repo: Repository, process: "subprocess.Popen[str]") -> int:
    """Wait until the stage runs; its process group."""
    path = repo.folder / ".scratch/started"
    until(lambda: path.exists() and path.read_text(), process)
    return os.getpgid(int(path.read_text()))


def alive(group: int) -> bool:
    """Whether the group has a process that is no zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def refused(process: "subprocess.Popen[str]", holder: int) -> None:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (6, "")
    (line,) = err.splitlines()
    assert f"process {holder})" in line and "dvc queue start" in line


@pytest.mark.holds("R-76")
@pytest.mark.parametrize("offset", [0, 1])
def test_a_second_one_is_refused_in_a_line_and_the_first_ends_with_its_result(
    repo: Repository, offset: int
) -> None:
    both = [start(repo, "-S", f"lr=0.00{2 + offset}")]
    time.sleep(offset)
    both.append(start(repo, "-S", "lr=0.009"))
    until(lambda: any(process.poll() is not None for process in both))
    loser, winner = sorted(both, key=lambda process: process.poll() is None)
    assert offset == 0 or loser is both[1]
    refused(loser, winner.pid)
    started(repo, winner)
    params = repo.read("params.yaml")
    # A bare `--queue` would put the params.yaml of HEAD under the running stage for a moment.
    refused(start(repo, "--queue", "-S", "lr=0.008"), winner.pid)
    assert (
        repo.read("params.yaml") == params
        and repo.run("dvc", "queue", "status").stdout.count("Queued") == 0
    )
    (repo.folder / ".scratch/go").touch()
    out, err = winner.communicate(timeout=60)
    assert winner.returncode == 0, out + err
    assert repo.read("out") == params


@pytest.mark.holds("R-24")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_reaches_the_stage_and_no_process_is_left(
    repo: Repository, number: int, code: int
) -> None:
    before = repo.read("params.yaml")
    process = start(repo, "-S", f"lr=0.{code}1")
    group = started(repo, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.splitlines()[-1] == f"error: run: {run.STOPPED}"
    assert (repo.folder / ".scratch/saved").exists() and not alive(group)
    assert repo.read("params.yaml") == before
    assert f"lr: 0.{code}1".encode() in repo.read(".scratch/params.failed.yaml")
    # DVC has tidied up after itself: killed by SIGTERM it leaves locks, and a later experiment ends
    # on no branch.
    assert repo.read(".dvc/tmp/rwlock") == b"{}"
    if number != signal.SIGTERM:
        return
    (repo.folder / ".scratch/go").touch()
    assert repo.run(sys.executable, "-m", "pipeline", "run", "-S", f"lr=0.{code}1").returncode == 0
    assert f"lr: 0.{code}1".encode() in repo.read("out")
    assert repo.run("git", "branch", "--show-current").stdout.strip()


def test_a_stage_that_does_not_end_is_killed_by_the_second_signal(repo: Repository) -> None:
    (repo.folder / ".scratch/stubborn").touch()
    process = start(repo, "-S", "lr=0.005")
    group = started(repo, process)
    process.terminate()
    until((repo.folder / ".scratch/saved").exists, process)
    assert alive(group)
    time.sleep(processes.SAME_REQUEST + 0.1)
    process.terminate()
    process.communicate(timeout=30)  # less than a stage has for its end after one signal
    assert process.returncode == 143 and not alive(group)


def test_the_lock_outlives_a_killed_wrapper_until_dvc_ends(repo: Repository) -> None:
    process = start(repo, "-S", "lr=0.006")
    group = started(repo, process)
    process.kill()
    process.wait()
    refused(start(repo, "-S", "lr=0.007"), process.pid)
    (repo.folder / ".scratch/go").touch()
    until(lambda: not alive(group))
    assert repo.run(sys.executable, "-m", "pipeline", "run", "-S", "lr=0.007").returncode == 0


@pytest.mark.holds("R-71")
def test_the_exit_code_is_that_of_dvc_and_params_go_back_when_it_fails(repo: Repository) -> None:
    # As a person would leave it: not committed.
    repo.set(beta1=0.25)
    before = repo.read("params.yaml")
    done = repo.run(sys.executable, "-m", "pipeline", "run", "-S", "lr=0.5", check=False)
    assert (
        done.returncode
        == repo.run("dvc", "exp", "run", "--no-such-option", check=False).returncode + 1
        == 255
    )
    assert (
        "failed to reproduce 'wait'" in done.stderr and ".scratch/params.failed.yaml" in done.stderr
    )
    assert repo.read("params.yaml") == before
    refusal = repo.run(sys.executable, "-m", "pipeline", "run", "-S", "lrr=1", check=False)
    assert (
        refusal.returncode == 255 and "lrr" in refusal.stderr and repo.read("params.yaml") == before
    )


def test_help_is_ours_and_everything_else_goes_to_dvc(repo: Repository) -> None:
    assert (
        "python -m pipeline run"
        in repo.run(sys.executable, "-m", "pipeline", "run", "--help").stdout
    )
    assert (
        "usage: dvc experiments run" in repo.run(sys.executable, "-m", "pipeline.run", "-h").stdout
    )
    repo.run(sys.executable, "-m", "pipeline", "run", "--queue", "-S", "lr=0.01,0.02")
    status = repo.run("dvc", "queue", "status").stdout
    assert status.count("Queued") == 2
    repo.run("dvc", "queue", "remove", "--all")

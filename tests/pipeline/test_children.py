"""Programs that we run: their exit codes, and signals that reach their stages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from pipeline import children
from tests.support.imports import ROOT


def test_the_exit_code_is_that_of_the_stage_that_dvc_ran(capfdbinary):
    said = (
        "ERROR: failed to reproduce 'train': failed to run: python -m pipeline.train, exited with 4"
    )
    script = f"import sys; print('out'); print({said!r}, file=sys.stderr); sys.exit(255)"
    assert children.run(sys.executable, "-c", script) == 4
    assert children.run(sys.executable, "-c", "raise SystemExit(255)") == 255
    assert children.run(sys.executable, "-c", "pass") == 0
    out, err = capfdbinary.readouterr()
    assert b"out\n" in out and said.encode() in err


def test_a_program_that_is_not_there_is_one_line():
    for call in (children.run, children.output):
        with pytest.raises(EnvironmentProblem, match="no-such-program: cannot be run"):
            call("no-such-program")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_the_stage_and_its_end_is_awaited(number, code, tmp_path):
    # dvc ignores Ctrl-C while its stage runs, and the stage takes a while to save its state.
    (tmp_path / "stage.py").write_text("""
import signal, sys, time
def save(number, frame):
    time.sleep(0.5)
    open("saved", "w").write(signal.Signals(number).name)
    sys.exit(130)
signal.signal(signal.SIGINT, save)
open("ready", "w").close()
time.sleep(60)""")
    (tmp_path / "dvc.py").write_text("""
import signal, subprocess, sys
stage = subprocess.Popen([sys.executable, "stage.py"])
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(255 if stage.wait() else 0)""")
    script = f"""import sys; sys.path[:0] = [{str(ROOT)!r}]
from pipeline import children, cli
def main():
    children.run(sys.executable, "dvc.py")
cli.run(main, args=[])"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, (tmp_path / "saved").read_text()) == (code, "SIGINT")
    assert f"stopped by {number.name}; run the same command again" in err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of such an end")
def test_a_command_of_ours_ends_when_the_one_that_runs_it_is_killed(tmp_path: Path) -> None:
    child = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('asked').touch(), sys.exit()))\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(60)\n"
    )
    parent = (
        "import sys\n"
        "from pipeline import children\n"
        "children.run(sys.executable, '-c', sys.argv[1])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, child], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
    )  # fmt: skip
    for name in ("ready", "asked"):
        deadline = time.monotonic() + 30
        while not (tmp_path / name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    process.wait()

"""What retrain is made of: parameters from the command line, programs that get signals, branches beside the worker's own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcgan.config import edits, reading, sections
from dcgan.errors import ConfigError, EnvironmentProblem, UserError
from pipeline import branches, children, folder_lock, job_report, retrain
from tests.support.imports import ROOT


@pytest.fixture
def params(tmp_path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


@pytest.fixture
def git(tmp_path, monkeypatch):
    """A repository with a commit, in which we are, and git commands in it."""
    for name in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        monkeypatch.setenv(f"GIT_{name}", "t@t")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def git(*command: str) -> str:
        return subprocess.run(
            ("git", *command), check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet", "-b", "main", ".")
    write(
        {
            "dvc.lock": "old",
            "params.yaml": "lr: 1",
            "code.py": "1",
            ".gitignore": "/results/gate/\n/results/big",
        }
    )
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return git


def test_a_retraining_beside_an_experiment_is_refused_and_names_it(git):
    handle = folder_lock.hold()
    try:
        with pytest.raises(
            EnvironmentProblem,
            match=rf"^retrain: an experiment or a retraining .* \(process {os.getpid()}\)",
        ):
            retrain.main()
    finally:
        os.close(handle)


def write(contents: dict[str, str]) -> None:
    for name, content in contents.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


def test_what_s_sets_is_yaml_and_nested():
    pairs = [
        "lr=2e-4",
        "generator.channels=[8, 4]",
        "generator.start_size=7",
        "gate.max_kid=null",
        "dataset.source=a=b",
    ]
    assert edits.overlay(pairs) == {
        "lr": 2e-4, "generator": {"channels": [8, 4], "start_size": 7}, "gate": {"max_kid": None}, "dataset": {"source": "a=b"},
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["lr", "=3", "lr=[1", "lr: 3"])
def test_what_is_no_key_and_value_is_refused(pair):
    with pytest.raises(ConfigError, match=r"^-S ") as caught:
        edits.overlay([pair])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pair",
    [
        "lrr=1",
        "lr=7",
        "lr.x=1",
        "dataset=3",
        "epochs=1.5",
        "generator.start_size=8",
        "lr=.nan",
        "lr=!!python/name:os",
    ],
)
def test_a_wrong_value_is_refused_before_the_file_is_touched(pair, params):
    before = params.read_bytes()
    with pytest.raises(ConfigError) as caught:
        edits.apply(params, edits.overlay([pair]))
    assert "\n" not in str(caught.value) and params.read_bytes() == before


def test_values_are_written_where_they_were_and_comments_stay(params):
    before = params.read_text()
    edits.apply(params, edits.overlay(["lr=2e-4", "seed=7"]))
    after = params.read_text()
    assert (
        reading.load(sections.AllParams, path=params).lr,
        reading.load(sections.AllParams, path=params).seed,
    ) == (2e-4, 7)
    assert [
        i
        for i, lines in enumerate(zip(before.splitlines(), after.splitlines(), strict=True))
        if lines[0] != lines[1]
    ] == [
        2,
        3,
    ]
    edits.apply(params, edits.overlay([]))
    assert params.read_text() == after


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


def test_results_are_committed_beside_the_workers_own_branch_index_and_files(git):
    write(
        {
            "dvc.lock": "new",
            "params.yaml": "lr: 2",
            "code.py": "2",
            "results/a/metrics.json": "{}",
            "results/big": "x",
        }
    )
    write({"results/gate/gate.json": "{}", "results/gate/other": "x"})
    git("add", "code.py")
    head, status = git("rev-parse", "HEAD"), git("status", "--porcelain")
    assert branches.holding_lock(None) is None and branches.leaves_out()
    branch = branches.commit("2026-11-24", "Retrain x: promoted", [Path("results/gate/gate.json")])
    assert branch == f"retrain/2026-11-24-{git('hash-object', 'dvc.lock')[:8]}"
    assert (
        git("rev-parse", "HEAD"),
        git("branch", "--show-current"),
        git("status", "--porcelain"),
    ) == (head, "main", status)
    assert git("diff", "--name-only", "HEAD", branch).split() == [
        "dvc.lock", "params.yaml", "results/a/metrics.json", "results/gate/gate.json",
    ]  # fmt: skip
    assert git("rev-parse", f"{branch}^") == head
    assert branches.holding_lock(None) == branch
    write({"dvc.lock": "old"})
    assert branches.holding_lock(None) == "HEAD"


def test_a_branch_that_another_job_pushed_is_known_after_a_fetch(git, tmp_path):
    git("init", "--quiet", "--bare", str(tmp_path / "bare"))
    git("remote", "add", "origin", str(tmp_path / "bare"))
    write({"dvc.lock": "new", "results/a.json": "{}"})
    branch = branches.commit("2026-11-24", "Retrain", [])
    branches.push("origin", branch)
    branches.push("origin", branch)  # again is no error
    git("update-ref", "-d", f"refs/heads/{branch}")
    git("update-ref", "-d", f"refs/remotes/origin/{branch}")
    assert branches.holding_lock("origin") is None
    branches.fetch("origin")
    assert branches.holding_lock("origin") == branch


def test_what_would_fail_after_the_work_is_refused_before_it(git, tmp_path, monkeypatch):
    branches.check()
    with pytest.raises(EnvironmentProblem, match="git fetch"):
        branches.fetch("nowhere")
    for name in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        monkeypatch.delenv(f"GIT_{name}")
    git("config", "user.useConfigOnly", "true")
    with pytest.raises(EnvironmentProblem, match=r"no name to commit under: set user\.name"):
        branches.check()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvironmentProblem, match="git rev-parse"):
        branches.check()


@pytest.mark.parametrize(
    ("code", "expected"), [(4, 4), (3, 3), (130, 130), (255, 6), (251, 6), (1, 6)]
)
def test_what_fails_ends_the_job_with_a_documented_code_and_a_report(
    code, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    with pytest.raises(UserError, match=f"dvc repro ended with exit code {code}") as caught:
        job_report.fail("dvc repro", code)
    assert caught.value.exit_code == expected
    assert (tmp_path / "outputs").read_text() == "outcome=failed\n"
    assert (
        "failed" in (tmp_path / "summary").read_text() and Path("results/gate/summary.md").is_file()
    )


def test_the_report_shows_the_picture_where_a_job_has_pushed_it(monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert job_report.picture("retrain/x", "origin") == "samples.png"
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    assert (
        job_report.picture("retrain/x", "origin")
        == "https://github.example/o/r/raw/retrain/x/results/gate/samples.png"
    )
    assert job_report.picture("retrain/x", None) == "samples.png"

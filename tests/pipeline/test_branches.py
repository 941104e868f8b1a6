"""Results on a git branch beside the worker's own."""

from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from pipeline import branches
from tests.pipeline.conftest import write


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
    branches.push("origin", branch)  # it is not here: there is nothing to push


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

"""What a run is made with."""

import subprocess
from pathlib import Path

import pytest

from dcgan.tracking import provenance


def test_the_hash_of_params_is_the_same_whatever_their_order() -> None:
    params = {"lr": 2e-4, "generator": {"channels": [8, 4]}, "dataset": {"source": None}}
    assert provenance.params_hash(params) == provenance.params_hash(dict(reversed(params.items())))
    assert provenance.params_hash(params) != provenance.params_hash({**params, "lr": 1e-4})


def test_the_git_state_is_told_and_needs_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state() == (None, False)

    def git(*args: str) -> str:
        identity = ("user.name=a", "user.email=a@example.org", "commit.gpgsign=false")
        options = [part for setting in identity for part in ("-c", setting)]
        return subprocess.run(
            ["git", *options, *args], check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "params.yaml").write_text("lr: 1\n")
    (tmp_path / "dvc.lock").write_text("a\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").write_text("b\n")
    assert provenance.git_state() == (commit, False)
    (tmp_path / "params.yaml").write_text("lr: 2\n")
    assert provenance.git_state() == (commit, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state() == (None, False)


def test_the_command_that_remakes_a_run_names_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    commit = "0123456789" * 4
    for state, expected in (
        ((commit, False), f"`git checkout {commit} && make repro`"),
        (
            (commit, True),
            f"`git checkout {commit}`, set these parameters, `make repro`;"
            " the folder differed from the commit",
        ),
        ((None, False), "`make repro` with these parameters; no commit is known"),
    ):
        monkeypatch.setattr(provenance, "git_state", lambda state=state: state)
        assert provenance.remake() == expected
    monkeypatch.setenv("DVC_EXP_NAME", "fond-heron")
    assert provenance.remake() == "`dvc exp apply fond-heron && make repro`"

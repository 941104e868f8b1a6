"""A git repository for the commands that use one."""

import os
import subprocess
from pathlib import Path

import pytest


def write(contents: dict[str, str]) -> None:
    for name, content in contents.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


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

"""What a run is made with: the commit, the versions of packages, the parameters.

No output of a stage depends on it.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

PACKAGES = ("torch", "torchvision", "numpy", "mlflow", "dvc")


def params_hash(params: Mapping[str, Any]) -> str:
    """Hex sha256 of the values, whatever their order."""
    return hashlib.sha256(json.dumps(params, sort_keys=True, allow_nan=False).encode()).hexdigest()


def git_state() -> tuple[str | None, bool]:
    """The commit, and whether tracked sources or params differ from it; (None, False) without git.

    What the pipeline itself rewrites, dvc.lock and the results, does not count.
    """
    changes = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock", ":!results"
    )
    return _git("rev-parse", "--verify", "--quiet", "HEAD") or None, bool(changes)


def remake() -> str:
    """The command that makes the present results again, as Markdown."""
    commit, dirty = git_state()
    experiment = os.environ.get("DVC_EXP_NAME")
    if experiment:
        return f"`dvc exp apply {experiment} && make repro`"
    if commit is None:
        return "`make repro` with these parameters; no commit is known"
    if dirty:
        return (
            f"`git checkout {commit}`, set these parameters, `make repro`;"
            " the folder differed from the commit"
        )
    return f"`git checkout {commit} && make repro`"


def environment_tags() -> dict[str, str]:
    """Tags of a run: commit, DVC experiment, package versions; unknown ones are left out."""
    commit, dirty = git_state()
    tags = {
        "git_commit": commit,
        "git_dirty": str(dirty) if commit else None,
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc_baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "version.python": platform.python_version(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "pipeline",
        "mlflow.source.git.commit": commit,
    }
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            tags[f"version.{package}"] = importlib.metadata.version(package)
    return {key: value for key, value in tags.items() if value}


def _git(*args: str) -> str:
    """What a git command prints; an empty text if it fails or takes longer than ten seconds."""
    try:
        return subprocess.run(
            ["git", *args], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""

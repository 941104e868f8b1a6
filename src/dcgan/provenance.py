"""Where a run comes from, for MLflow's tags and parameters: commit, versions, values. No output of a stage depends on it."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from typing import Any

Value = str | int | float | bool

PACKAGES = ("torch", "torchvision", "numpy", "mlflow", "dvc")


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested keys joined with dots; lists and null as JSON."""
    flat: dict[str, Value] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return flat


def params_hash(params: Mapping[str, Any]) -> str:
    """Hex sha256 of the values, whatever their order."""
    return hashlib.sha256(json.dumps(params, sort_keys=True, allow_nan=False).encode()).hexdigest()


def git_state() -> tuple[str | None, bool]:
    """Commit of the working folder and whether tracked sources or params differ from it; (None, False) without git."""
    # What the pipeline itself rewrites says nothing about the code.
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock", ":!results")
    return _git("rev-parse", "--verify", "--quiet", "HEAD") or None, bool(changes)


def redact(text: str) -> str:
    """Take user and password out of every address in `text`."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def _git(*args: str) -> str:
    try:
        return subprocess.run(["git", *args], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def environment_tags() -> dict[str, str]:
    """What a run is made with: commit, DVC experiment, package versions."""
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

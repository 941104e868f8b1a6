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
from pathlib import PurePosixPath
from typing import Any

Value = str | int | float | bool

HIDDEN = "***"
KEY, FILE = r"\w .:-", r"\w .@,()~+=-"  # what MLflow allows in a name between slashes
SECRET_LENGTH = 6  # shorter ones would be found in every second word
SECRET_NAME = re.compile(
    r"secret|token|passw|credential|api_?key|access_?key|private_?key", re.IGNORECASE
)
# name=value in an address or in an error's text.
SECRET_VALUE = re.compile(
    r"([\w-]*(?:secret|token|passw|credential|api_?key|access_?key|signature|\bsig)[\w-]*)=[^&\s'\"]+",
    re.IGNORECASE,
)
# Keys of AWS, GitHub, GitLab, Hugging Face, Slack and OpenAI.
SECRET_SHAPE = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_\w{20,}|xox[a-z]-[\w-]{10,}|sk-[\w-]{20,})"
)
PACKAGES = ("torch", "torchvision", "numpy", "mlflow", "dvc")


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested keys joined with dots; lists and null as JSON."""
    flat: dict[str, Value] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = (
                value if isinstance(value, str | int | float) else json.dumps(value)
            )
    return flat


def params_hash(params: Mapping[str, Any]) -> str:
    """Hex sha256 of the values, whatever their order."""
    return hashlib.sha256(json.dumps(params, sort_keys=True, allow_nan=False).encode()).hexdigest()


def git_state() -> tuple[str | None, bool]:
    """Commit of the working folder and whether tracked sources or params differ from it; (None, False) without git."""
    # What the pipeline itself rewrites says nothing about the code.
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
        return f"`git checkout {commit}`, set these parameters, `make repro`; the folder differed from the commit"
    return f"`git checkout {commit} && make repro`"


def redact(text: str) -> str:
    """Take out of `text` passwords in addresses, and keys and tokens known by shape or from the environment."""
    return _redact(text, _secrets())


def clean(value: Any) -> Any:
    """Plain JSON values with every string in them redacted, and escaped where no terminal or database should see it as it is."""
    secrets = _secrets()

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return "".join(
                char if char.isprintable() or char in "\n\t" else repr(char)[1:-1]
                for char in _redact(part, secrets)
            )
        if isinstance(part, Mapping):
            # A value is a secret, too, if its name says so.
            hidden = {
                key
                for key, item in part.items()
                if isinstance(item, str) and SECRET_NAME.search(key)
            }
            return {
                walk(key): HIDDEN if key in hidden else walk(item) for key, item in part.items()
            }
        return [walk(item) for item in part] if isinstance(part, list | tuple) else part

    return walk(value)


def safe(name: str, allowed: str = KEY, limit: int = 200) -> str:
    """A name, folders and all, that stays inside and that MLflow takes; a changed one has a hash, so that two stay two.

    Args:
        name: of a metric, a parameter, a tag; or of a file.
        allowed: KEY or FILE, the characters that stay.
        limit: characters, at least 20.
    """
    parts = [re.sub(rf"[^{allowed}]", "_", part) for part in name.split("/")]
    same = "/".join("_" if part.strip(" .") == "" else part for part in parts)
    if same == name and len(name) <= limit:
        return name
    suffix = PurePosixPath(same).suffix[:10]
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8]
    return f"{same.removesuffix(suffix)[: limit - 9 - len(suffix)]}-{digest}{suffix}"


def _redact(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = re.sub(r"//[^/\s]*@", "//", text)
    text = SECRET_VALUE.sub(rf"\1={HIDDEN}", text)
    return SECRET_SHAPE.sub(HIDDEN, text)


def _secrets() -> list[str]:
    """What the environment holds of them, longest first."""
    found = {value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    found |= {
        password
        for value in os.environ.values()
        for password in re.findall(r"//[^/\s:]*:([^/\s]+)@", value)
    }
    return sorted((value for value in found if len(value) >= SECRET_LENGTH), key=len, reverse=True)


def _git(*args: str) -> str:
    try:
        return subprocess.run(
            ["git", *args], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
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

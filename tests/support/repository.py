"""A copy of the project in a temporary git repository, and commands in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from dcgan import files
from tests.support.imports import ROOT
from tests.support.params import put

STAGES = [
    "download", "prepare", "validate", "reference", "train", "evaluate", "probe", "render", "paper",
]  # fmt: skip


class Repository:
    """The copy."""

    def __init__(self, folder: Path, source: Path, **values: object) -> None:
        self.folder = folder
        for name in ("src", "pipeline", "recipes"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in (
            "dvc.yaml",
            "params.yaml",
            "requirements.lock",
            ".gitignore",
            ".dvcignore",
            ".dvc/config",
            ".dvc/.gitignore",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        self.env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW", "DVC", "GIT"))
        }
        self.env |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_SITE_CACHE_DIR": str(source.parent / "site"), "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
        }  # fmt: skip
        self.set(**{"dataset.source": str(source), **values})
        self.run("git", "init", "--quiet", ".")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "small")

    def set(self, **values: object) -> None:
        """Edit params.yaml by hand, as a person would."""
        yaml = YAML()
        params = yaml.load(self.folder / "params.yaml")
        put(params, **values)
        yaml.dump(params, self.folder / "params.yaml")

    def run(
        self, *command: str, check: bool = True, timeout: float | None = None
    ) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def json(self, path: str) -> dict:
        return files.whole_metrics(json.loads(self.read(path)))


def ran(output: str) -> list[str]:
    """The stages that DVC says it runs."""
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]

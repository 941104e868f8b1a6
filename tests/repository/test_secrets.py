"""No secret is in the repository, and files that hold some stay out of it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.imports import ROOT

# Hashes are no secrets, and this project is full of them.
SCAN = [
    "detect-secrets", "scan", "--disable-plugin", "HexHighEntropyString", "--disable-plugin",
    "Base64HighEntropyString",
]  # fmt: skip
# What tests plant to see that it does not come out.
SCAN += ["--exclude-lines", "(?i)canary"]


def found(*arguments: str, folder: Path = ROOT) -> set[tuple[str, str]]:
    """Files with what looks like a secret, and its kind."""
    done = subprocess.run(
        [*SCAN, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return {
        (path, secret["type"])
        for path, secrets in json.loads(done.stdout)["results"].items()
        for secret in secrets
    }


@pytest.mark.holds("R-105")
def test_no_committed_file_holds_what_looks_like_a_secret():
    assert found() == set()


def test_a_key_a_password_and_an_address_with_a_password_would_be_found(tmp_path):
    (tmp_path / "settings.yaml").write_text(
        "aws: AKIA"
        + "Q4X7M2ZB9LKW5TPN\npass"
        + "word: 'hunter2-hunter2'\nurl: https://me:"
        + "hunter2@example.org\n"
    )
    kinds = {kind for _, kind in found("--all-files", folder=tmp_path)}
    assert kinds == {"AWS Access Key", "Secret Keyword", "Basic Auth Credentials"}


@pytest.mark.holds("R-105")
def test_files_that_hold_secrets_or_the_store_are_ignored():
    for path in (".dvc/config.local", ".env", ".mlflow/mlflow.db", "mlflow.db"):
        assert (
            subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode
            == 0
        ), path

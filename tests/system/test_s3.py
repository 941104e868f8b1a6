"""DVC's remote on S3: docs/servers.md's lines against an S3 on loopback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import s3
from tests.support.idx_source import write_idx_source
from tests.support.params import small
from tests.support.repository import Repository, ran

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 64
DVC = (sys.executable, "-m", "dvc")


def remote(bucket: s3.Bucket) -> list[tuple[str, ...]]:
    """The lines of docs/servers.md."""
    return [
        (*DVC, "remote", "add", "--default", "store", f"s3://{bucket.name}/dvc"),
        (*DVC, "remote", "modify", "store", "endpointurl", bucket.endpoint),
        (*DVC, "remote", "modify", "store", "verify", "true"),
        (*DVC, "remote", "modify", "--local", "store", "access_key_id", bucket.key_id),
        (*DVC, "remote", "modify", "--local", "store", "secret_access_key", bucket.secret),
    ]


class Workspace:
    """A git and DVC repository with one tracked file, `weights`, in its remote, a bucket."""

    def __init__(self, folder: Path, bucket: s3.Bucket) -> None:
        self.folder, self.bucket = folder, bucket
        (folder / "weights").write_bytes(CONTENT)
        commands = [
            ("git", "init", "--quiet"),
            (*DVC, "init", "--quiet"),
            *remote(bucket),
            (*DVC, "add", "--quiet", "weights"),
        ]
        for command in (*commands, (*DVC, "push")):
            self.run(*command)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("AWS", "DVC"))
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def pull(self) -> subprocess.CompletedProcess:
        """Pull into a workspace that has neither the file nor its copy in the cache."""
        shutil.rmtree(self.folder / ".dvc/cache", ignore_errors=True)
        (self.folder / "weights").unlink(missing_ok=True)
        return self.run(*DVC, "pull", check=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with s3.bucket("dcgan") as bucket:
        yield Workspace(tmp_path, bucket)


def test_what_was_pushed_comes_back(workspace: Workspace) -> None:
    assert len(workspace.bucket.objects()) == 1
    assert workspace.pull().returncode == 0
    assert (workspace.folder / "weights").read_bytes() == CONTENT


@pytest.mark.holds("R-73")
@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: b"x" + content[1:], None]
)
def test_a_damaged_or_missing_object_is_refused_by_its_name(workspace: Workspace, damage) -> None:
    (key,) = workspace.bucket.objects()
    if damage:
        workspace.bucket.client.put_object(Bucket="dcgan", Key=key, Body=damage(CONTENT))
    else:
        workspace.bucket.client.delete_object(Bucket="dcgan", Key=key)
    pulled = workspace.pull()
    assert pulled.returncode != 0
    assert "weights" in pulled.stderr, pulled.stderr
    assert workspace.bucket.secret not in pulled.stdout + pulled.stderr
    assert not (workspace.folder / "weights").exists()


def test_a_retraining_leaves_in_the_bucket_what_another_machine_needs(tmp_path: Path) -> None:
    floors = dict.fromkeys(
        (
            "gate.max_kid",
            "gate.min_recall",
            "gate.min_class_share",
            "gate.min_probe",
            "gate.min_memorisation",
        )
    )
    for name in ("source", "repo"):
        (tmp_path / name).mkdir()
    write_idx_source(tmp_path / "source", num_train=700, num_test=200)
    repo = Repository(tmp_path / "repo", tmp_path / "source", **small(**floors))
    with s3.bucket("dcgan") as bucket:
        for command in remote(bucket):
            repo.run(*command)
        repo.run("git", "commit", "--quiet", "--all", "--message", "a remote")
        repo.run(sys.executable, "-m", "pipeline", "retrain")
        (branch,) = repo.run(
            "git", "for-each-ref", "--format=%(refname:short)", "refs/heads/retrain"
        ).stdout.split()
        there = tmp_path / "there"
        repo.run("git", "clone", "--quiet", "--branch", branch, str(repo.folder), str(there))
        shutil.copy(repo.folder / ".dvc/config.local", there / ".dvc")
        elsewhere = {**repo.env, "DVC_SITE_CACHE_DIR": str(tmp_path / "site of another machine")}

        def run(*command: str) -> str:
            return subprocess.run(
                command, cwd=there, env=elsewhere, capture_output=True, text=True, check=True
            ).stdout

        run(*DVC, "pull")
        assert (there / "models/generator.safetensors").read_bytes() == repo.read(
            "models/generator.safetensors"
        )
        assert ran(run(*DVC, "repro")) == []


def test_the_secret_is_in_no_file_that_git_tracks(workspace: Workspace) -> None:
    workspace.run("git", "add", "--all")
    assert (
        workspace.run("git", "grep", "--cached", workspace.bucket.secret, check=False).returncode
        == 1
    )

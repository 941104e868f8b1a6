"""DVC's remote on S3: docs/operations.md's lines against an S3 on loopback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 64


class Workspace:
    """A git and DVC repository with one tracked file, `weights`, in its remote, a bucket."""

    def __init__(self, folder: Path, bucket: s3.Bucket) -> None:
        self.folder, self.bucket = folder, bucket
        (folder / "weights").write_bytes(CONTENT)
        for command in (
            ["git", "init", "--quiet"],
            [*DVC, "init", "--quiet"],
            [*DVC, "remote", "add", "--default", "store", f"s3://{bucket.name}/dvc"],
            [*DVC, "remote", "modify", "store", "endpointurl", bucket.endpoint],
            [*DVC, "remote", "modify", "store", "verify", "true"],
            [*DVC, "remote", "modify", "--local", "store", "access_key_id", bucket.key_id],
            [*DVC, "remote", "modify", "--local", "store", "secret_access_key", bucket.secret],
            [*DVC, "add", "--quiet", "weights"],
            [*DVC, "push"],
        ):
            self.run(*command)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS", "DVC"))}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def pull(self) -> subprocess.CompletedProcess:
        """Pull into a workspace that has neither the file nor its copy in the cache."""
        shutil.rmtree(self.folder / ".dvc/cache", ignore_errors=True)
        (self.folder / "weights").unlink(missing_ok=True)
        return self.run(*DVC, "pull", check=False)


DVC = (sys.executable, "-m", "dvc")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with s3.bucket("dcgan") as bucket:
        yield Workspace(tmp_path, bucket)


def test_what_was_pushed_comes_back(workspace: Workspace) -> None:
    assert len(workspace.bucket.objects()) == 1
    assert workspace.pull().returncode == 0
    assert (workspace.folder / "weights").read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"x" + content[1:], None])
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


def test_the_secret_is_in_no_file_that_git_tracks(workspace: Workspace) -> None:
    workspace.run("git", "add", "--all")
    assert workspace.run("git", "grep", "--cached", workspace.bucket.secret, check=False).returncode == 1

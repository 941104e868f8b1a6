"""Results of a retraining on a git branch of their own.

The branch, the index and the files of the person who works in this folder stay as they are.
"""

import tempfile
from pathlib import Path

from dcgan.errors import EnvironmentProblem
from pipeline import children

LOCK = "dvc.lock"  # its hashes name all that a commit's results come from and consist of
PATHS = (LOCK, "params.yaml", "results")


def check() -> None:
    """Check before the work what the commit after it needs.

    Raises:
        EnvironmentProblem: no git repository, no commit, or no name to commit under.
    """
    children.output("git", "rev-parse", "--verify", "HEAD")
    try:
        children.output("git", "var", "GIT_COMMITTER_IDENT")
    except EnvironmentProblem as error:
        raise EnvironmentProblem(
            "git: no name to commit under: set user.name and user.email with git config"
        ) from error


def fetch(remote: str) -> None:
    """Fetch the branches that earlier jobs have pushed.

    Raises:
        EnvironmentProblem: the remote does not exist, or does not answer.
    """
    children.output(
        "git", "fetch", "--quiet", remote, f"+refs/heads/retrain/*:refs/remotes/{remote}/retrain/*"
    )


def holding_lock(remote: str | None) -> str | None:
    """Where this dvc.lock is committed: HEAD, or a retraining's branch, here or on the remote.

    Returns:
        HEAD, the branch's name, or None: nowhere.
    """
    lock = children.output("git", "hash-object", LOCK)
    patterns = ["refs/heads/retrain", *([f"refs/remotes/{remote}/retrain"] if remote else [])]
    for ref in (
        "HEAD",
        *children.output("git", "for-each-ref", "--format=%(refname)", *patterns).split(),
    ):
        # Empty where the commit has no dvc.lock.
        if children.output("git", "ls-tree", "--format=%(objectname)", ref, "--", LOCK) == lock:
            return ref if ref == "HEAD" else ref[ref.index("retrain/") :]
    return None


def leaves_out() -> bool:
    """Whether `commit` would leave out changes of tracked files."""
    return bool(
        children.output(
            "git", "diff", "HEAD", "--name-only", "--", ".", *(f":!{path}" for path in PATHS)
        )
    )


def commit(date: str, message: str, forced: list[Path]) -> str:
    """Commit dvc.lock, params.yaml and the small results on a new branch that starts at HEAD.

    Args:
        date: for the branch's name, which also has the first digits of dvc.lock's hash.
        message: of the commit.
        forced: files that are committed although git ignores them.

    Returns:
        The branch's name.
    """
    branch = f"retrain/{date}-{children.output('git', 'hash-object', LOCK)[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        children.output("git", "read-tree", "HEAD", environment=index)
        children.output("git", "add", "--", *PATHS, environment=index)
        children.output("git", "add", "--force", "--", *map(str, forced), environment=index)
        tree = children.output("git", "write-tree", environment=index)
    new = children.output("git", "commit-tree", tree, "-p", "HEAD", "-m", message)
    children.output("git", "update-ref", f"refs/heads/{branch}", new)
    return branch


def push(remote: str, branch: str) -> None:
    """Push a branch; does nothing if the remote already has that branch, or alone has it.

    Raises:
        EnvironmentProblem: the remote did not take it.
    """
    if not children.output("git", "for-each-ref", f"refs/heads/{branch}"):
        return  # an earlier job pushed it from another clone
    if code := children.run("git", "push", remote, f"refs/heads/{branch}"):
        raise EnvironmentProblem(
            f"git push {remote} {branch}: exit code {code}: see its lines above,"
            " run the same command again"
        )

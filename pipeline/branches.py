"""Results of a retraining on a git branch of their own; branch, index and files of whoever works here stay as they are."""

import tempfile
from pathlib import Path

from dcgan.errors import EnvironmentProblem
from pipeline import children

LOCK = "dvc.lock"  # names by its hashes everything that a commit's results come from and consist of
PATHS = (LOCK, "params.yaml", "results")


def check() -> None:
    """Refuse before the work what would fail after it.

    Raises:
        EnvironmentProblem: no git repository, no commit, or nobody to sign one.
    """
    children.output("git", "rev-parse", "--verify", "HEAD")
    try:
        children.output("git", "var", "GIT_COMMITTER_IDENT")
    except EnvironmentProblem as error:
        raise EnvironmentProblem(
            "git: nobody to commit as: set user.name and user.email with git config"
        ) from error


def fetch(remote: str) -> None:
    """Learn which branches earlier jobs have pushed.

    Raises:
        EnvironmentProblem: there is no such remote, or it does not answer.
    """
    children.output(
        "git", "fetch", "--quiet", remote, f"+refs/heads/retrain/*:refs/remotes/{remote}/retrain/*"
    )


def holding_lock(remote: str | None) -> str | None:
    """Where this dvc.lock has been committed: HEAD, or the name of a retraining's branch, here or on the remote; None: nowhere."""
    wanted = children.output("git", "hash-object", LOCK)
    patterns = ["refs/heads/retrain", *([f"refs/remotes/{remote}/retrain"] if remote else [])]
    for ref in (
        "HEAD",
        *children.output("git", "for-each-ref", "--format=%(refname)", *patterns).split(),
    ):
        # Empty where the commit has no dvc.lock.
        if children.output("git", "ls-tree", "--format=%(objectname)", ref, "--", LOCK) == wanted:
            return ref if ref == "HEAD" else ref[ref.index("retrain/") :]
    return None


def leaves_out() -> bool:
    """Whether tracked files differ from HEAD that `commit` does not take along."""
    return bool(
        children.output(
            "git", "diff", "HEAD", "--name-only", "--", ".", *(f":!{path}" for path in PATHS)
        )
    )


def commit(date: str, message: str, forced: list[Path]) -> str:
    """Commit dvc.lock, params.yaml and the small results on a new branch that starts at HEAD.

    Args:
        date: stands in the branch's name, with the first digits of dvc.lock's hash.
        message: of the commit.
        forced: files that git ignores and that belong to it all the same.

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
    made = children.output("git", "commit-tree", tree, "-p", "HEAD", "-m", message)
    children.output("git", "update-ref", f"refs/heads/{branch}", made)
    return branch


def push(remote: str, branch: str) -> None:
    """Push a branch; nothing where it is there already.

    Raises:
        EnvironmentProblem: the remote did not take it.
    """
    if code := children.run("git", "push", remote, f"refs/heads/{branch}"):
        raise EnvironmentProblem(
            f"git push {remote} {branch}: exit code {code}: see its lines above, run the same command again"
        )

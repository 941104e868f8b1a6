"""Fetch the data again, rebuild what has changed, let the gate decide, and put the results on a branch: the scheduled job."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipeline import branches, children, cli

PARAMS_FILE, GATE, RUN_LOCK = Path("params.yaml"), Path("results/gate"), Path(".scratch/run.lock")
SUMMARY = GATE / "summary.md"
DECIDED = {0: "promoted", 4: "refused", 7: "cannot tell"}  # exit codes of promote


def main(
    set_param: Annotated[list[str] | None, typer.Option("--set-param", "-S", help="KEY=VALUE of params.yaml; repeat it.")] = None,
    git_remote: Annotated[str | None, typer.Option(help="Push the branch there. Default: it stays here.")] = None,
) -> None:
    """Rebuild what has changed and let the gate decide: python -m pipeline retrain -S seed=7. Exit code of promote, 0 without news."""
    import filelock

    from dcgan import config, edits, errors, registry

    overlay = edits.overlay(set_param or [])
    branches.check()
    if git_remote:
        branches.fetch(git_remote)
    RUN_LOCK.parent.mkdir(exist_ok=True)
    try:
        lock = filelock.FileLock(RUN_LOCK).acquire(timeout=0)
    except filelock.Timeout:
        raise errors.EnvironmentProblem("retrain: an experiment or another retrain runs in this folder: wait for it") from None
    with lock:
        rebuild(overlay)
        dataset = config.load("dataset").dataset.name
        seen = branches.holding_lock(git_remote)
        if seen and registry.alias(dataset, "champion"):
            if git_remote and seen != "HEAD":
                branches.push(git_remote, seen)  # perhaps a kill came between commit and push
            finish("unchanged", f"# {dataset}: nothing new\n\nNothing was retrained: `{seen}` has these results already.\n", seen)
            return
        code = children.run(sys.executable, "-m", "pipeline", "promote")
        if code not in DECIDED:
            stop("promote", code)
        if children.has_remote() and children.run("dvc", "push", "--run-cache"):
            stop("dvc push", 6)
        branch = save(dataset, DECIDED[code], git_remote)
    raise typer.Exit(code)

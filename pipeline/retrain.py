"""Fetch the data again, rebuild what has changed, let the gate decide, and put the results on a branch: the scheduled job."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipeline import branches, children, cli, run

PARAMS_FILE, GATE = Path("params.yaml"), Path("results/gate")
SUMMARY = GATE / "summary.md"
DECIDED = {0: "promoted", 4: "refused", 7: "cannot tell"}  # exit codes of promote


def main(
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="KEY=VALUE of params.yaml; repeat it."),
    ] = None,
    git_remote: Annotated[
        str | None, typer.Option(help="Push the branch there. Default: it stays here.")
    ] = None,
) -> None:
    """Rebuild what has changed and let the gate decide: python -m pipeline retrain -S seed=7. Exit code: promote's."""
    from dcgan.config import edits, reading, sections
    from dcgan.promotion import registry

    overlay = edits.overlay(set_param or [])
    branches.check()
    if git_remote:
        branches.fetch(git_remote)
    with os.fdopen(run.hold(run.LOCK, "retrain"), "r+b"):
        rebuild(overlay)
        dataset = reading.load(sections.AllParams).dataset.name
        seen = branches.holding_lock(git_remote)
        if seen and registry.alias(dataset, "champion"):
            if git_remote and seen != "HEAD":
                branches.push(git_remote, seen)  # perhaps a kill came between commit and push
            finish(
                "unchanged",
                f"# {dataset}: nothing new\n\nNothing was retrained: `{seen}` has these results already.\n",
                seen,
            )
            return
        code = children.run(sys.executable, "-m", "pipeline", "promote")
        if code not in DECIDED:
            stop("promote", code)
        if children.has_remote() and children.run("dvc", "push", "--run-cache"):
            stop("dvc push", 6)
        save(dataset, DECIDED[code], git_remote)
    raise typer.Exit(code)


def rebuild(overlay: dict[str, object]) -> None:
    """Download again, then run what has changed; restored from DVC's remote where that has it.

    Parameters that fail are taken back, so that the next job does not stumble over them. Those of a
    job that was stopped or killed stay, so that the next one goes on with it, and so do those of a
    finished one, whose results lie beside them.
    """
    from dcgan import files
    from dcgan.config import edits

    before = PARAMS_FILE.read_bytes()
    edits.apply(PARAMS_FILE, overlay)
    pull = ["--pull"] if children.has_remote() else []
    for command in (["repro", "--force", "--single-item", "download"], ["repro", *pull]):
        if code := children.run("dvc", *command):
            if PARAMS_FILE.read_bytes() != before:
                files.write_bytes(PARAMS_FILE, before)
            stop("dvc repro", code)


def save(dataset: str, outcome: str, git_remote: str | None) -> None:
    """Commit the results on a branch, push it, and report."""
    from dcgan import files

    about = files.read_json(Path("results/train/run.json"))
    if branches.leaves_out():
        print(
            "retrain: some changes are not committed: the branch has the results, but not these",
            file=sys.stderr,
        )
    message = f"Retrain {dataset}: {outcome}\n\nTraining {about['fingerprint']}, data {about['data_sha256']}, seed {about['seed']}."
    told = [
        path for name in ("gate.json", "gate.md", "samples.png") if (path := GATE / name).is_file()
    ]
    branch = branches.commit(f"{datetime.now(UTC):%Y-%m-%d}", message, told)
    if git_remote:
        branches.push(git_remote, branch)
    changed = children.output("dvc", "params", "diff", "--md")
    parts = [
        (GATE / "gate.md")
        .read_text()
        .replace("](samples.png)", f"]({picture(branch, git_remote)})"),
        f"Branch `{branch}`. Training `{about['fingerprint']}` on data `{about['data_sha256'][:16]}`, seed {about['seed']}.",
        *(
            [f"Parameters that differ from the commit it starts at:\n\n{changed}"]
            if changed
            else []
        ),
    ]
    finish(outcome, "\n\n".join(part.strip() for part in parts) + "\n", branch)


def picture(branch: str, git_remote: str | None) -> str:
    """Address of the picture: on GitHub, where a job runs and has pushed it, else beside the report."""
    where = [os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY")]
    if git_remote and all(where):
        return f"{where[0]}/{where[1]}/raw/{branch}/{GATE}/samples.png"
    return "samples.png"


def finish(outcome: str, report: str, branch: str | None = None) -> None:
    """Write the report, and give it and outcome and branch to the workflow, if this is a job of one."""
    from dcgan import files

    files.write_text(SUMMARY, report)
    outputs = f"outcome={outcome}\n" + (f"branch={branch}\n" if branch and branch != "HEAD" else "")
    for variable, text in (("GITHUB_STEP_SUMMARY", report), ("GITHUB_OUTPUT", outputs)):
        if path := os.environ.get(variable):
            with open(path, "a") as file:
                file.write(text)
    print(f"retrain: {outcome}{f', {branch}' if branch else ''}: {SUMMARY} says more")


def stop(what: str, code: int) -> NoReturn:
    """End with the exit code of what failed, after a line and a report.

    Raises:
        UserError: always.
    """
    from dcgan import errors

    error = errors.EnvironmentProblem(
        f"retrain: {what} ended with exit code {code}: see its lines above"
    )
    if 2 <= code <= 7 or code in (130, 143):  # one of ours; dvc itself answers 255
        error.exit_code = code
    finish(
        "failed",
        f"# Retraining failed\n\n{what} ended with exit code {code}; its output says why.\n",
    )
    raise error


if __name__ == "__main__":
    cli.run(main)

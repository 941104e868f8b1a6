"""The scheduled job: download, rebuild what has changed, ask the gate, commit the results."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pipeline import branches, children, cli, folder_lock, job_report, workspace

DECIDED = {0: "promoted", 4: "refused", 7: "cannot tell"}  # exit codes of promote


def main(
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="KEY=VALUE of params.yaml; repeat it."),
    ] = None,
    from_champion: Annotated[
        bool,
        typer.Option(
            "--from-champion", metavar="", help="Begin with the champion's weights; see start_from."
        ),
    ] = False,
    git_remote: Annotated[
        str | None, typer.Option(help="Push the branch there. Default: it stays here.")
    ] = None,
    push: Annotated[
        bool,
        typer.Option(
            help="--no-push: fetch and push nothing there. The caller does both, so that no other"
            " program sees its token."
        ),
    ] = True,
) -> None:
    """Rebuild what has changed and let the gate decide: python -m pipeline retrain -S seed=7.

    The exit code is that of promote.
    """
    from dcgan.config import edits, reading, sections
    from dcgan.promotion import registry
    from dcgan.raw import catalog

    overlay = edits.overlay(set_param or [])
    workspace.check()
    branches.check()
    if git_remote and push:
        branches.fetch(git_remote)
    with os.fdopen(folder_lock.hold(who="retrain"), "r+b"):
        if from_champion:
            start = {"training": {"start_from": champion(overlay)}}
            overlay = edits.merge(overlay, start)
        rebuild(overlay)
        dataset = catalog.title(reading.load(sections.AllParams).dataset)
        committed = branches.holding_lock(git_remote)
        if committed and registry.alias(dataset, "champion"):
            if git_remote and push and committed != "HEAD":
                # A kill may have come between commit and push.
                branches.push(git_remote, committed)
            text = f"Nothing was retrained: `{committed}` has these results already."
            job_report.write("unchanged", f"# {dataset}: nothing new\n\n{text}\n", committed)
            return
        code = children.run(sys.executable, "-m", "pipeline", "promote")
        if code not in DECIDED:
            job_report.fail("promote", code)
        if children.has_remote() and children.run("dvc", "push", "--run-cache"):
            job_report.fail("dvc push", 6)
        save(dataset, DECIDED[code], git_remote, push=push)
    raise typer.Exit(code)


def champion(overlay: Mapping[str, Any]) -> str:
    """The address of today's champion: its number, because the alias may move.

    Args:
        overlay: of params.yaml, which may name another data set.

    Raises:
        NoCheckpoint: there is no champion.
    """
    from dcgan.config import edits, reading
    from dcgan.errors import NoCheckpoint
    from dcgan.promotion import registry
    from dcgan.raw import catalog

    params = reading.parse(edits.merge(reading.read_yaml(reading.PARAMS_FILE), overlay))
    dataset = catalog.title(params.dataset)
    version = registry.alias(dataset, "champion")
    if version is None:
        raise NoCheckpoint(
            f"--from-champion: {registry.model_name(dataset)} has no champion: retrain without it"
            " first"
        )
    return f"models:/{registry.model_name(dataset)}/{version.number}"


def rebuild(overlay: dict[str, object]) -> None:
    """Download again, then run what has changed; what DVC's remote has is restored from it.

    Parameters that fail are taken back, so that they do not fail the next job, too. Those of a
    job that was stopped or killed stay, so that the next one continues it, and so do those of a
    finished one, whose results lie beside them.
    """
    from dcgan import files
    from dcgan.config import edits, reading

    before = reading.PARAMS_FILE.read_bytes()
    edits.apply(reading.PARAMS_FILE, overlay)
    pull = ["--pull"] if children.has_remote() else []
    for command in (["repro", "--force", "--single-item", "download"], ["repro", *pull]):
        if code := children.run("dvc", *command):
            if reading.PARAMS_FILE.read_bytes() != before:
                files.write_bytes(reading.PARAMS_FILE, before)
            job_report.fail("dvc repro", code)
    if pull:
        damaged, _ = workspace.damaged_objects()
        if damaged:
            print(
                f"retrain: {damaged[0]}, among {len(damaged)}: damaged, perhaps by DVC's remote:"
                " delete them here and there, and set verify: true",
                file=sys.stderr,
            )
            job_report.fail("dvc repro --pull", 3)


def save(dataset: str, outcome: str, git_remote: str | None, *, push: bool) -> None:
    """Commit the results on a branch, push it, and report."""
    from dcgan.config import trained

    training = trained.read()
    fingerprint, data, seed = (training[key] for key in ("fingerprint", "data_sha256", "seed"))
    if branches.leaves_out():
        text = "some changes are not committed: the branch has the results, but not these"
        print(f"retrain: {text}", file=sys.stderr)
    message = f"Retrain {dataset}: {outcome}\n\nTraining {fingerprint}, data {data}, seed {seed}."
    reports = [job_report.GATE / name for name in ("gate.json", "gate.md", "samples.png")]
    branch = branches.commit(
        f"{datetime.now(UTC):%Y-%m-%d}", message, [path for path in reports if path.is_file()]
    )
    if git_remote and push:
        branches.push(git_remote, branch)
    lines = [f"Branch `{branch}`. Training `{fingerprint}` on data `{data[:16]}`, seed {seed}."]
    if changed := children.output("dvc", "params", "diff", "--md"):
        lines.append(f"Parameters that differ from the commit it starts at:\n\n{changed}")
    job_report.write(outcome, job_report.of_the_gate(branch, git_remote, lines), branch)


if __name__ == "__main__":
    cli.run(main)

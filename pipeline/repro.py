"""Build everything with DVC, and say in five lines what came out of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dcgan.errors import Stopped
from pipeline import cli, folder_lock, processes, run, workspace

METRICS, PICTURE = (
    Path("results/evaluate/metrics.json"),
    Path("results/render/real_and_generated.png"),
)


def main(
    options: Annotated[
        list[str] | None, typer.Argument(help="Passed on to dvc repro as they are.")
    ] = None,
) -> None:
    """Build everything that has changed, and say what came out: python -m pipeline repro.

    All options are those of dvc repro. The exit code is that of the stage that failed.

    If the folder that dataset.source names has changed, its images are fetched again first.
    """
    workspace.check()
    lock = folder_lock.hold(who="repro")
    before = workspace.count_stages()
    with processes.noting(*run.signals()) as noted:
        code = run.fetch_again("repro", lock, noted)
        code = code or run.dvc(["repro", *(options or [])], lock, noted)
        folder_lock.release(lock)
    if noted and code != 0:
        raise Stopped(f"repro: {run.STOPPED}", noted[0])
    ran = workspace.stages(before)
    if code != 0:
        # dvc's own code says nothing; the stage has said what is wrong.
        failed = [stage["exit"] for stage in ran if stage["exit"]]
        raise typer.Exit(failed[-1] if failed else code if code > 0 else 128 - code)
    for line in summary(ran):
        print(f"repro: {line}")


def summary(ran: list[dict[str, Any]]) -> Iterator[str]:
    """What a person wants to know at the end."""
    from dcgan import files

    if METRICS.is_file():
        metrics = files.read_metrics(METRICS)
        fid, floor, ceiling = metrics["fid"], metrics["floor"]["fid"], metrics["ceiling"]["fid"]
        yield (
            f"FID {fid['mean']:.2f} +- {fid['deviation']:.2f} on test, epoch {metrics['epoch']}"
            f" (real images {floor:.2f}, uniform noise {ceiling:.1f})"
        )
    if PICTURE.is_file():
        yield f"picture: {PICTURE}"
    yield "all runs, figures and pictures: make ui"
    minutes = ", ".join(f"{stage['stage']} {stage['seconds'] / 60:.1f}" for stage in ran)
    yield f"minutes: {minutes}; other stages were up to date" if ran else "nothing had changed"
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "dvc.lock", "results"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    if changed:
        yield (
            "dvc.lock and results differ from the commit: figures differ a little from processor to"
            " processor; commit them, or git checkout dvc.lock results"
        )


if __name__ == "__main__":
    cli.run(main, args=run.arguments(sys.argv[1:]))

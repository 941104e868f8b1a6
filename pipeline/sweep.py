"""List, run and show the cells of a grid of experiments, on any number of machines.

Any machine with a clone can run any cell, as often as needed.
"""

import itertools
import json
import re
import sys
from typing import Annotated, Any, NamedTuple

import typer

from dcgan.errors import ConfigError
from pipeline import children, tables, workspace

METRICS = "results/evaluate/metrics.json"
Grid = Annotated[
    list[str],
    typer.Option("--set-param", "-S", help="KEY=VALUE,VALUE,... of params.yaml; repeat it."),
]
Remote = Annotated[
    str | None, typer.Option(help="Experiments are there, and go there. Default: they stay here.")
]


class Cell(NamedTuple):
    """One experiment of a grid."""

    name: str
    flags: list[str]  # of `dvc exp run`
    ref: str  # where git keeps it, based on the commit at HEAD


def list_(set_param: Grid) -> None:
    """List the cells of a grid by number: python -m pipeline sweep list -S lr=1e-3,3e-3."""
    for k, cell in enumerate(cells(set_param)):
        print(f"{k}  {cell.name}")


def run(
    cell: Annotated[int, typer.Argument(metavar="K", help="Number of the cell, from 0.")],
    set_param: Grid,
    git_remote: Remote = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Stage to run up to; repeat it. Default: all.")
    ] = None,
) -> None:
    """Run one cell, or go on with it: python -m pipeline sweep run 3 -S lr=1e-3,3e-3 -S seed=1,2.

    An experiment that is there already, here or on the git remote, is not run again. One that was
    killed goes on from its checkpoint. The exit code is that of the stage that failed.
    """
    grid = cells(set_param)
    if not 0 <= cell < len(grid):
        raise ConfigError(f"sweep: K = {cell}: the grid has the cells 0 to {len(grid) - 1}")
    chosen = grid[cell]
    if git_remote and children.output("git", "ls-remote", git_remote, chosen.ref):
        print(f"sweep: cell {cell}, {chosen.name}: is on {git_remote} already")
        return
    if not here(chosen):
        code = children.run(
            sys.executable, "-m", "pipeline", "run",
            "--name", chosen.name, *chosen.flags, *(target or []),
        )  # fmt: skip
        if code:
            raise typer.Exit(code)
    if git_remote:
        cache = ["--run-cache"] if children.has_remote() else ["--no-cache"]
        if children.run("dvc", "exp", "push", *cache, git_remote, chosen.name):
            raise typer.Exit(6)
    print(f"sweep: cell {cell}, {chosen.name}: done")


def show(set_param: Grid, git_remote: Remote = None) -> None:
    """Show the grid's figures: python -m pipeline sweep show -S lr=1e-3,3e-3 -S seed=1,2."""
    grid = cells(set_param)
    if git_remote:
        folder = grid[0].ref.rpartition("/")[0]
        children.output("git", "fetch", "--quiet", git_remote, f"{folder}/*:{folder}/*")
    table = tables.new("cell", "experiment", "FID on validation", "FID on test")
    for k, cell in enumerate(grid):
        shown = ["not there", ""]
        if here(cell):
            metrics = figures(cell)
            test = metrics["fid"]
            shown = [
                f"{metrics['validation']['fid']:.2f}",
                f"{test['mean']:.2f} ± {test['deviation']:.2f}",
            ]
        table.add_row(str(k), cell.name, *shown)
    tables.show(table)


def figures(cell: Cell) -> dict[str, Any]:
    """The metrics of evaluate that an experiment has in git."""
    from dcgan import files

    content = json.loads(children.output("git", "show", f"{cell.ref}:{METRICS}"))
    return dict(files.whole_metrics(content))


SUBCOMMANDS = (list_, run, show)


def cells(pairs: list[str], prefix: str = "sweep") -> list[Cell]:
    """All combinations of the values; those of the last key change fastest.

    Args:
        pairs: `section.key=value,value,...`; values are YAML.
        prefix: of the names of the experiments.

    Raises:
        ConfigError: a key is unknown, a value is wrong, or a cell is no possible configuration.
    """
    from dcgan.config import edits, keys, reading, recipes
    from dcgan.tracking import provenance

    workspace.check()
    head = children.output("git", "rev-parse", "--verify", "HEAD")
    base = reading.read_yaml(reading.PARAMS_FILE)
    axes: list[list[dict[str, Any]]] = []
    for pair in pairs:
        key, equals, values = pair.partition("=")
        if not equals:
            raise ConfigError(f"-S {pair}: expected KEY=VALUE,VALUE,...")
        (listed,) = keys.leaves(edits.overlay([f"{key}=[{values}]"])).values()
        axes.append([edits.overlay([f"{key}={json.dumps(value)}"]) for value in listed])
    found = []
    for combination in itertools.product(*axes):
        overlay: dict[str, Any] = {}
        for one in combination:
            overlay = edits.merge(overlay, one)
        merged = edits.merge(base, overlay)
        recipe = recipes.Recipe("sweep", "", overlay, reading.parse(merged))
        said = "-".join(
            f"{key.rpartition('.')[2]}{value}" for key, value in keys.leaves(overlay).items()
        )
        said = re.sub(r"[^A-Za-z0-9_.-]+", "_", said)[:60].strip("._-")
        name = f"{prefix}-{said}-{provenance.params_hash(merged)[:8]}"
        ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
        found.append(Cell(name, recipes.flags(recipe), ref))
    return found


def here(cell: Cell) -> bool:
    """Whether this clone has the experiment."""
    return bool(children.output("git", "for-each-ref", cell.ref))

"""Sweep learning rate x batch size x seeds as queued DVC experiments, and write docs/sweep.md.

    make sweep    # an hour and a half on two cores
    python bench/sweep.py --lr 3e-3 --batch-size 64 --seeds 1 --epochs 1    # a quick try

A second run does not repeat the experiments that ended well; those that failed or were killed
resume from their checkpoints.
"""

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from matplotlib.figure import Figure

from dcgan import files
from dcgan.config import edits, reading, recipes, sections
from dcgan.reports import markdown
from dcgan.tracking import provenance

DOCUMENT, PICTURE = Path("docs/sweep.md"), Path("docs/images/sweep.png")
MARKS = ("<!-- the table below is written by make sweep -->", "<!-- end of the table -->")
METRICS = "results/evaluate/metrics.json"


class Point(NamedTuple):
    """One experiment of the grid."""

    lr: float
    batch_size: int
    seed: int


Fids = dict[Point, float]  # on validation


def main() -> None:
    """Queue what is missing, wait for it, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe", default="best28", help="name of a recipe; none: params.yaml as it is"
    )
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3, 3e-3, 6e-3])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument(
        "--every", type=float, default=60.0, help="seconds between two looks at the queue"
    )
    args = parser.parse_args()
    grid = [
        Point(lr, batch, seed) for seed in args.seeds for lr in args.lr for batch in args.batch_size
    ]
    names = {point: name(args.recipe, args.epochs, point) for point in grid}
    try:
        queue(args.recipe, args.epochs, names)
        fids = wait(names, args.every)
    except KeyboardInterrupt:
        waiting = [
            key
            for key, state in states().items()
            if state.name == "queued" and key in names.values()
        ]
        if waiting:
            dvc("queue", "remove", *waiting)
        sys.exit(
            "\nsweep: stopped; the experiment that runs goes on in the background:"
            " run this again to go on"
        )
    if fids:
        epochs = "1 epoch" if args.epochs == 1 else f"{args.epochs} epochs"
        write(fids, f"`{args.recipe}`, {epochs}, seeds {', '.join(map(str, args.seeds))}")
    failed = [names[point] for point in grid if point not in fids]
    if failed:
        sys.exit(
            f"sweep: {len(failed)} of {len(grid)} experiments failed: {', '.join(failed)}:"
            f" see dvc queue logs {failed[0]}"
        )


def overlaid(recipe: str, epochs: int, point: Point) -> recipes.Recipe:
    """The recipe with the grid's values in it."""
    plain = recipes.Recipe("none", "params.yaml", {}, reading.load(sections.AllParams))
    base = plain if recipe == "none" else recipes.load(recipes.find(recipe, Path("recipes")))
    return dataclasses.replace(
        base, overlay=edits.merge(base.overlay, {**point._asdict(), "epochs": epochs})
    )


def name(recipe: str, epochs: int, point: Point) -> str:
    """An experiment's name: the grid's values, and a hash of all parameters."""
    values = edits.merge(
        reading.read_yaml(reading.PARAMS_FILE), overlaid(recipe, epochs, point).overlay
    )
    digest = provenance.params_hash(values)[:6]
    return f"sweep-lr{point.lr:g}-b{point.batch_size}-seed{point.seed}-{digest}"


def queue(recipe: str, epochs: int, names: dict[Point, str]) -> None:
    """Queue the experiments that have not ended well and are not queued, and start a worker."""
    by_name = states()
    for point, key in names.items():
        state = by_name.get(key, State("missing"))
        if state.waits_or_runs or state.name == "success":
            continue
        if state.name == "running":
            # Its worker was killed, which DVC does not know yet; now it counts as failed.
            dvc("queue", "kill", key)
        if state.name != "missing":
            dvc("queue", "remove", key)
        # The stages after evaluate have no figure for the grid.
        flags = recipes.flags(overlaid(recipe, epochs, point))
        dvc("exp", "run", "--queue", "--name", key, *flags, "evaluate")
    dvc("queue", "start", "--jobs", "1")


def wait(names: dict[Point, str], seconds: float) -> Fids:
    """Wait until no experiment of the grid is queued or runs; the FIDs of those that ended well."""
    shown, quiet = "", 0
    while True:
        by_name = states()
        grid = {point: by_name.get(key, State("missing")) for point, key in names.items()}
        fids = {point: state.fid for point, state in grid.items() if state.fid is not None}
        to_go = [state.name for state in grid.values() if state.waits_or_runs]
        line = f"sweep: {len(fids)} of {len(grid)} done, {len(to_go)} to go"
        if line != shown:
            print(shown := line, flush=True)
        # On its way from the queue to the worker, and from there to the results, an experiment is
        # not listed for a moment.
        quiet = 0 if to_go else quiet + 1
        if len(fids) == len(grid) or quiet == 3:
            return fids
        if "running" not in to_go:
            dvc("queue", "start", "--jobs", "1")  # does nothing where a worker is alive
        time.sleep(seconds)


@dataclasses.dataclass(frozen=True)
class State:
    """How far an experiment is.

    Attributes:
        name: missing, queued, running, failed or success.
        pid: of the process that runs it.
        fid: the best checkpoint's on validation, of one that ended well.
    """

    name: str
    pid: int | None = None
    fid: float | None = None

    @property
    def waits_or_runs(self) -> bool:
        """Whether to wait for it; for DVC it stays `running` when its process was killed."""
        return self.name == "queued" or (
            self.name == "running" and (self.pid is None or Path(f"/proc/{self.pid}").exists())
        )


def states() -> dict[str, State]:
    """State of every experiment of HEAD, by name."""
    by_name = {}
    # The command fails or hangs where a worker removes the folder of an experiment that it reads,
    # with --no-fetch too.
    output = dvc("exp", "show", "--json", "--no-fetch", tries=3, seconds=120)
    # The first revision is the workspace, the second HEAD.
    for experiment in json.loads(output)[1]["experiments"] or []:
        executor = experiment["executor"] or {"state": "success", "local": None}
        revision = (experiment["revs"] or [{}])[0].get("data") or {}
        metrics = revision.get("metrics", {}).get(METRICS, {}).get("data") or {}
        fid = metrics.get("validation", {}).get("fid")
        by_name[experiment["name"]] = State(
            executor["state"],
            (executor["local"] or {}).get("pid"),
            fid if executor["state"] == "success" else None,
        )
    return by_name


def dvc(*args: str, tries: int = 1, seconds: float | None = None) -> str:
    """Run dvc, again where it fails or takes longer than `seconds`; its output.

    It goes through a file, because `dvc queue start` leaves a worker that would keep a pipe open.
    """
    why = ""
    for _ in range(tries):
        with tempfile.TemporaryFile("w+") as output:
            try:
                command = [sys.executable, "-m", "dvc", *args]
                subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=output, check=True, timeout=seconds
                )
                output.seek(0)
                return output.read()
            except subprocess.CalledProcessError as error:
                why = f"ended with exit code {error.returncode}: see its lines above"
            except subprocess.TimeoutExpired:
                why = f"did not end in {seconds:g} s: run this again"
        time.sleep(1)
    sys.exit(f"sweep: dvc {' '.join(args[:2])} {why}")


def write(fids: Fids, setup: str) -> None:
    """Put the table between its marks in the document, and draw the picture."""
    settings = sorted({point[:2] for point in fids})
    seeds = {
        setting: {point.seed: fid for point, fid in fids.items() if point[:2] == setting}
        for setting in settings
    }
    best = min(
        settings,
        key=lambda setting: (-len(seeds[setting]), statistics.mean(seeds[setting].values())),
    )
    head = [
        "learning rate", "batch size", "FID on validation", "by seed",
        "against the best, within seeds",
    ]  # fmt: skip
    rows = []
    for lr, batch_size in settings:
        mine = seeds[lr, batch_size]
        gaps = [mine[seed] - seeds[best][seed] for seed in mine if seed in seeds[best]]
        against = (
            "the best" if (lr, batch_size) == best else spread(gaps, math.sqrt(len(gaps) or 1))
        )
        single = ", ".join(f"{seed}: {fid:.2f}" for seed, fid in sorted(mine.items()))
        rows.append([f"{lr:g}", str(batch_size), spread(list(mine.values())), single, against])
    draw(seeds, setup)
    link = os.path.relpath(PICTURE, DOCUMENT.parent)
    table = f"""{markdown.table(head, rows)}

{setup}; mean ± standard deviation over seeds.

![FID by learning rate]({link})"""
    before, _, rest = DOCUMENT.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    files.write_text(DOCUMENT, f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}")


def spread(values: list[float], divisor: float = 1.0) -> str:
    """Mean and, of several values, standard deviation by `divisor`."""
    if not values:
        return "no common seed"
    deviation = statistics.stdev(values) / divisor if len(values) > 1 else None
    return markdown.number(statistics.mean(values), deviation)


def draw(seeds: dict[tuple[float, int], dict[int, float]], setup: str) -> None:
    """FID against the learning rate, a line a batch size: mean, deviation, and a dot a seed."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    sizes = sorted({batch_size for _, batch_size in seeds})
    for i, size in enumerate(sizes):
        # A few per cent apart, so that the bars of two sizes do not hide each other.
        shift = 1.03 ** (i - (len(sizes) - 1) / 2)
        rates = [lr for lr, batch_size in seeds if batch_size == size]
        values = [list(seeds[lr, size].values()) for lr in rates]
        means = [statistics.mean(fids) for fids in values]
        deviations = [statistics.stdev(fids) if len(fids) > 1 else 0.0 for fids in values]
        shifted = [lr * shift for lr in rates]
        line = axis.errorbar(
            shifted, means, deviations, marker="o", capsize=4, label=f"batch size {size}"
        )
        dots = [(x, fid) for x, fids in zip(shifted, values, strict=True) for fid in fids]
        axis.plot(*zip(*dots, strict=True), ".", color=line.lines[0].get_color(), alpha=0.5)
    ticks = sorted({lr for lr, _ in seeds})
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{lr:g}" for lr in ticks])
    axis.minorticks_off()
    axis.set_xlabel("learning rate")
    axis.set_ylabel("FID on validation, best checkpoint")
    axis.set_title(setup.replace("`", ""))
    axis.grid(alpha=0.3)
    axis.legend()
    with files.replacing(PICTURE) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()

"""Sweep learning rate x batch size x seeds as DVC experiments in the queue, and write docs/sweep.md and its picture.

    make sweep                                                                    # an hour and a
    half on two cores python bench/sweep.py --lr 3e-3 --batch-size 64 --seeds 1 --epochs 1
    # a look

A second run does not repeat the experiments that ended well; those that failed or were killed go on
from their checkpoints.
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
from dcgan.tracking import provenance

DOCUMENT, PICTURE = Path("docs/sweep.md"), Path("docs/images/sweep.png")
MARKS = ("<!-- the table below is written by make sweep -->", "<!-- end of the table -->")
METRICS = "results/evaluate/metrics.json"


class Point(NamedTuple):
    """One experiment of the grid."""

    lr: float
    batch_size: int
    seed: int


Figures = dict[Point, float]  # validation FID


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
        found = wait(names, args.every)
    except KeyboardInterrupt:
        waiting = [
            key
            for key, state in states().items()
            if state.name == "queued" and key in names.values()
        ]
        if waiting:
            dvc("queue", "remove", *waiting)
        sys.exit(
            "\nsweep: stopped; the experiment that runs goes on in the background: run this again to go on"
        )
    if found:
        epochs = "1 epoch" if args.epochs == 1 else f"{args.epochs} epochs"
        write(found, f"`{args.recipe}`, {epochs}, seeds {', '.join(map(str, args.seeds))}")
    failed = [names[point] for point in grid if point not in found]
    if failed:
        sys.exit(
            f"sweep: {len(failed)} of {len(grid)} experiments failed: {', '.join(failed)}: see dvc queue logs {failed[0]}"
        )


def overlaid(recipe: str, epochs: int, point: Point) -> recipes.Recipe:
    """The recipe with the grid's values in it."""
    plain = recipes.Recipe("none", "params.yaml", {}, reading.load(sections.AllParams))
    base = plain if recipe == "none" else recipes.load(recipes.find(recipe, Path("recipes")))
    return dataclasses.replace(
        base, overlay=edits.merge(base.overlay, {**point._asdict(), "epochs": epochs})
    )


def name(recipe: str, epochs: int, point: Point) -> str:
    """An experiment's name, which holds whatever makes it another: the hash is of all parameters, the commit is DVC's to know."""
    values = edits.merge(
        reading.read_yaml(reading.PARAMS_FILE), overlaid(recipe, epochs, point).overlay
    )
    return f"sweep-lr{point.lr:g}-b{point.batch_size}-seed{point.seed}-{provenance.params_hash(values)[:6]}"


def queue(recipe: str, epochs: int, names: dict[Point, str]) -> None:
    """Put into the queue what has not ended well and is not there, and see that a worker is at it."""
    known = states()
    for point, key in names.items():
        state = known.get(key, State("missing"))
        if state.waits_or_runs or state.name == "success":
            continue
        if state.name == "running":
            dvc(
                "queue", "kill", key
            )  # its worker was killed, which DVC does not know yet; now it counts as failed
        if state.name != "missing":
            dvc("queue", "remove", key)
        # No stage after evaluate says anything about the grid.
        dvc(
            "exp",
            "run",
            "--queue",
            "--name",
            key,
            *recipes.flags(overlaid(recipe, epochs, point)),
            "evaluate",
        )
    dvc("queue", "start", "--jobs", "1")


def wait(names: dict[Point, str], seconds: float) -> Figures:
    """Wait until no experiment of the grid is queued or runs; the figures of those that ended well."""
    shown, quiet = "", 0
    while True:
        known = states()
        grid = {point: known.get(key, State("missing")) for point, key in names.items()}
        found = {point: state.fid for point, state in grid.items() if state.fid is not None}
        to_go = [state.name for state in grid.values() if state.waits_or_runs]
        line = f"sweep: {len(found)} of {len(grid)} done, {len(to_go)} to go"
        if line != shown:
            print(shown := line, flush=True)
        # On its way from the queue to the worker, and from there to the results, an experiment is
        # nowhere for a moment.
        quiet = 0 if to_go else quiet + 1
        if len(found) == len(grid) or quiet == 3:
            return found
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
        """Whether there is something to wait for; a run whose process was killed stays `running` for DVC."""
        return self.name == "queued" or (
            self.name == "running" and (self.pid is None or Path(f"/proc/{self.pid}").exists())
        )


def states() -> dict[str, State]:
    """State of every experiment of HEAD, by name."""
    found = {}
    # The command fails or hangs where a worker removes the folder of an experiment that it reads,
    # with --no-fetch too.
    shown = dvc("exp", "show", "--json", "--no-fetch", tries=3, seconds=120)
    for experiment in (
        json.loads(shown)[1]["experiments"] or []
    ):  # the first revision is the workspace, the second HEAD
        executor = experiment["executor"] or {"state": "success", "local": None}
        metrics = ((experiment["revs"] or [{}])[0].get("data") or {}).get("metrics", {}).get(
            METRICS, {}
        ).get("data") or {}
        fids = [
            value for key, value in metrics.get("validation", {}).items() if key.startswith("fid_")
        ]
        fid = fids[0] if fids and executor["state"] == "success" else None
        found[experiment["name"]] = State(
            executor["state"], (executor["local"] or {}).get("pid"), fid
        )
    return found


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


def write(found: Figures, about: str) -> None:
    """Put the table between its marks in the document, and draw the picture."""
    settings = sorted({point[:2] for point in found})
    seeds = {
        setting: {point.seed: fid for point, fid in found.items() if point[:2] == setting}
        for setting in settings
    }
    best = min(
        settings,
        key=lambda setting: (-len(seeds[setting]), statistics.mean(seeds[setting].values())),
    )
    head = [
        "learning rate",
        "batch size",
        "FID on validation",
        "by seed",
        "against the best, within seeds",
    ]
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for lr, batch_size in settings:
        mine = seeds[lr, batch_size]
        gaps = [mine[seed] - seeds[best][seed] for seed in mine if seed in seeds[best]]
        against = (
            "the best" if (lr, batch_size) == best else spread(gaps, math.sqrt(len(gaps) or 1))
        )
        single = ", ".join(f"{seed}: {fid:.2f}" for seed, fid in sorted(mine.items()))
        rows.append(
            f"| {lr:g} | {batch_size} | {spread(list(mine.values()))} | {single} | {against} |"
        )
    draw(seeds, about)
    link = os.path.relpath(PICTURE, DOCUMENT.parent)
    table = "\n".join(
        [
            *rows,
            "",
            f"{about}; mean ± standard deviation over seeds.",
            "",
            f"![FID by learning rate]({link})",
        ]
    )
    before, _, rest = DOCUMENT.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    files.write_text(DOCUMENT, f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}")


def spread(values: list[float], divisor: float = 1.0) -> str:
    """Mean and, of several values, standard deviation by `divisor`."""
    if not values:
        return "no common seed"
    deviation = f" ± {statistics.stdev(values) / divisor:.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def draw(seeds: dict[tuple[float, int], dict[int, float]], about: str) -> None:
    """FID against the learning rate, a line a batch size: mean and deviation over the seeds, a dot each."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    sizes = sorted({batch_size for _, batch_size in seeds})
    for i, size in enumerate(sizes):
        # A few per cent apart, so that the bars of two sizes do not hide each other.
        shift = 1.03 ** (i - (len(sizes) - 1) / 2)
        rates = [lr for lr, batch_size in seeds if batch_size == size]
        values = [list(seeds[lr, size].values()) for lr in rates]
        means = [statistics.mean(found) for found in values]
        deviations = [statistics.stdev(found) if len(found) > 1 else 0.0 for found in values]
        shifted = [lr * shift for lr in rates]
        line = axis.errorbar(
            shifted, means, deviations, marker="o", capsize=4, label=f"batch size {size}"
        )
        dots = [(x, fid) for x, found in zip(shifted, values, strict=True) for fid in found]
        axis.plot(*zip(*dots, strict=True), ".", color=line.lines[0].get_color(), alpha=0.5)
    ticks = sorted({lr for lr, _ in seeds})
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{lr:g}" for lr in ticks])
    axis.minorticks_off()
    axis.set_xlabel("learning rate")
    axis.set_ylabel("FID on validation, best checkpoint")
    axis.set_title(about.replace("`", ""))
    axis.grid(alpha=0.3)
    axis.legend()
    with files.replacing(PICTURE) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()

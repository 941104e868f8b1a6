"""Sweep learning rate x batch size x seeds of params.yaml as it is, and write docs/sweep.md.

    make sweep    # an hour and a half on two cores
    python bench/sweep.py --lr 3e-3 --batch-size 64 --seeds 1 --epochs 1    # a quick try

Each point is a cell of `python -m pipeline sweep`. A second run does not repeat the experiments
that ended well; those that failed or were killed resume from their checkpoints.
"""

import argparse
import itertools
import math
import os
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import typer
from matplotlib.figure import Figure

from dcgan import files
from dcgan.errors import UserError
from dcgan.reports import markdown
from pipeline import sweep

DOCUMENT, PICTURE = Path("docs/sweep.md"), Path("docs/images/sweep.png")
MARKS = ("<!-- the table below is written by make sweep -->", "<!-- end of the table -->")


class Point(NamedTuple):
    """One experiment of the grid."""

    seed: int
    lr: float
    batch_size: int

    @property
    def setting(self) -> tuple[float, int]:
        """What the seeds repeat."""
        return self.lr, self.batch_size


Fids = dict[Point, float]  # on validation


def main() -> None:
    """Run what is missing, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3, 3e-3, 6e-3])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    axes = {
        "seed": args.seeds, "lr": args.lr, "batch_size": args.batch_size, "epochs": [args.epochs],
    }  # fmt: skip
    try:
        fids, failed = run({key: [repr(value) for value in axes[key]] for key in axes})
    except UserError as error:
        sys.exit(f"error: {error}")
    if fids:
        epochs = "1 epoch" if args.epochs == 1 else f"{args.epochs} epochs"
        write(fids, f"{epochs}, seeds {', '.join(map(str, args.seeds))}")
    if failed:
        sys.exit(f"sweep: {len(failed)} experiments failed: {', '.join(failed)}: run this again")


def run(axes: dict[str, list[str]]) -> tuple[Fids, list[str]]:
    """Run every cell of a grid, those that are done already excepted.

    Args:
        axes: the values of each key of params.yaml: seed, lr, batch_size, epochs.

    Returns:
        The FID of each point's best checkpoint on validation, and the names of what failed.
    """
    pairs = [f"{key}={','.join(values)}" for key, values in axes.items()]
    grid, fids, failed = sweep.cells(pairs), {}, []
    # In the order in which sweep.cells makes them.
    for k, (cell, values) in enumerate(zip(grid, itertools.product(*axes.values()), strict=True)):
        try:
            # The stages after evaluate have no figure for the grid.
            sweep.run(k, pairs, target=["evaluate"])
        except typer.Exit:
            failed.append(cell.name)
            continue
        seed, lr, batch_size, _ = values
        point = Point(int(seed), float(lr), int(batch_size))
        fids[point] = float(sweep.figures(cell)["validation"]["fid"])
        print(f"sweep: {len(fids)} of {len(grid)} done", flush=True)
    return fids, failed


def write(fids: Fids, setup: str) -> None:
    """Put the table between its marks in the document, and draw the picture."""
    settings = sorted({point.setting for point in fids})
    seeds = {
        setting: {point.seed: fid for point, fid in fids.items() if point.setting == setting}
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
